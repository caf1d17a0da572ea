//! The user whose rights a server has once its ports are taken.

use std::str::FromStr;

use anyhow::{Context, bail};
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};

/// A user and a group, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    uid: u32,
    gid: u32,
}

impl FromStr for User {
    type Err = String;

    /// `USER` or `USER:GROUP`, each a name of `/etc/passwd` and `/etc/group` or a number. A user's group is that of his line; a
    /// number without a line needs its group said.
    fn from_str(text: &str) -> Result<User, String> {
        let read = |path: &str| std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"));
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let users = read("/etc/passwd")?;
        let line = line_of(&users, user);
        let uid = (line.as_ref())
            .and_then(|line| line.get(2)?.parse().ok())
            .or_else(|| user.parse().ok())
            .ok_or_else(|| format!("no user `{user}` in /etc/passwd"))?;
        let gid = match group {
            None => line
                .and_then(|line| line.get(3)?.parse().ok())
                .ok_or_else(|| format!("user `{user}` has no group: write {user}:GROUP"))?,
            Some(group) => {
                let groups = read("/etc/group")?;
                line_of(&groups, group)
                    .and_then(|line| line.get(2)?.parse().ok())
                    .or_else(|| group.parse().ok())
                    .ok_or_else(|| format!("no group `{group}` in /etc/group"))?
            }
        };
        match (uid, gid) {
            // setresuid(2) takes it for "as it is".
            (u32::MAX, _) | (_, u32::MAX) => Err(format!("`{text}` is nobody's number")),
            (uid, gid) => Ok(User { uid, gid }),
        }
    }
}

/// The fields of the line that begins with a name.
fn line_of<'a>(table: &'a str, name: &str) -> Option<Vec<&'a str>> {
    table
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields[0] == name)
}

impl User {
    /// Takes on the rights of this user alone, for good. To be called while the process has one thread, because the kernel
    /// knows users of threads.
    pub(crate) fn become_it(self) -> anyhow::Result<()> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        if rustix::process::geteuid() == uid && rustix::process::getegid() == gid {
            return Ok(());
        }
        let taken = set_thread_groups(&[])
            .and_then(|()| set_thread_gid(gid))
            .and_then(|()| set_thread_uid(uid));
        taken.with_context(|| format!("--user: becoming {}:{}", self.uid, self.gid))?;
        // With some capabilities the kernel lets a process come back.
        if self.uid != 0 && set_thread_uid(Uid::ROOT).is_ok() {
            bail!("--user: the rights of root could be taken back");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_names_or_numbers() {
        let user = |text: &str| text.parse::<User>();
        assert_eq!(user("root"), Ok(User { uid: 0, gid: 0 }));
        assert_eq!(user("root:12"), Ok(User { uid: 0, gid: 12 }));
        assert_eq!(user("4711:root"), Ok(User { uid: 4711, gid: 0 }));
        assert_eq!(
            user("4711:815"),
            Ok(User {
                uid: 4711,
                gid: 815
            })
        );
        for bad in [
            "",
            ":",
            "4711",
            "no-such-user",
            "root:no-such-group",
            "-1:0",
            "4294967295:1",
            "1:4294967295",
            "root:",
        ] {
            assert!(user(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_is_a_whole_name() {
        let table = "root:x:0:0::/:\nroo:x:7:8::/:\n#c\n\nbad\n";
        assert_eq!(line_of(table, "roo").unwrap()[2], "7");
        assert_eq!(line_of(table, "ro"), None);
        assert_eq!(line_of(table, "bad"), Some(vec!["bad"]));
    }
}
