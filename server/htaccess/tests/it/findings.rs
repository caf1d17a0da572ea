//! What is said of directives that are not understood, or not as they stand.

use htaccess::{Class, Rules, Site};

use crate::site::{Memory, ROOT};

fn findings(text: &str) -> Vec<(u32, Class, String)> {
    let site = Site {
        document_root: ROOT.as_bytes(),
        index: &[],
    };
    let rules = Rules::read(&site, &[(ROOT, text)], &Memory::default()).unwrap();
    rules
        .findings()
        .iter()
        .map(|found| (found.line, found.class, found.to_string()))
        .collect()
}

#[test]
fn a_finding_has_its_file_and_line() {
    let text = "# comment\n\nOptions -Indexes\nFooBar \\\n  baz\n\nServerSignature Off\nRequire ldap-user bob\n";
    let expected = [
        (
            4,
            Class::Ignored,
            "/site/.htaccess:4: FooBar: not understood",
        ),
        (
            7,
            Class::Harmless,
            "/site/.htaccess:7: ServerSignature: has no meaning here",
        ),
        (
            8,
            Class::WouldDeny,
            "/site/.htaccess:8: Require: who this lets in cannot be known here: nobody is",
        ),
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|(line, class, text)| (*line, *class, (*text).to_owned()))
        .collect();
    assert_eq!(findings(text), expected);
}

#[test]
fn what_may_deny_is_told_from_what_may_not() {
    for (text, expected) in [
        ("Require ldap-group x", Some(Class::WouldDeny)),
        ("Require not ldap-group x", Some(Class::WouldDeny)),
        ("Require host example.org", Some(Class::Ignored)),
        ("Require nonsense", Some(Class::WouldDeny)),
        ("Require all maybe", Some(Class::WouldDeny)),
        ("Require ip 10.0.0.300", Some(Class::WouldDeny)),
        ("Deny from example.org", Some(Class::WouldDeny)),
        ("Allow from example.org", Some(Class::Ignored)),
        ("Deny all", Some(Class::WouldDeny)),
        ("Order sideways", Some(Class::WouldDeny)),
        ("AuthType Digest", Some(Class::WouldDeny)),
        ("AuthType Basic", None),
        ("AuthUserFile /nowhere", Some(Class::Ignored)),
        ("AuthBasicProvider ldap", Some(Class::WouldDeny)),
        ("AuthLDAPURL ldap://x", Some(Class::WouldDeny)),
        ("SSLRequireSSL", None),
        ("SSLVerifyClient require", Some(Class::WouldDeny)),
        ("SecRule ARGS x deny", Some(Class::WouldDeny)),
        ("SecFilterEngine Off", Some(Class::Ignored)),
        ("Options +MultiViews", Some(Class::Ignored)),
        ("Options Sideways", Some(Class::WouldDeny)),
        ("RewriteRule (?R) - [F]", Some(Class::WouldDeny)),
        ("RewriteRule (?R) /x [L]", Some(Class::Ignored)),
        ("RewriteRule ^ ${map:x}", Some(Class::Ignored)),
        ("RewriteRule ^ http://x/ [P]", Some(Class::Ignored)),
        ("RewriteCond %{X} (?R)", Some(Class::WouldDeny)),
        ("RewriteMap a txt:/x", Some(Class::Ignored)),
        ("Redirect 410 /a /b", Some(Class::WouldDeny)),
        ("Redirect 301 /a b", Some(Class::Ignored)),
        ("SetEnvIf", Some(Class::WouldDeny)),
        ("php_admin_flag engine off", Some(Class::WouldDeny)),
        ("php_admin_value upload_tmp_dir /x", Some(Class::Ignored)),
        ("php_flag engine off", None),
        (
            "<Directory /x>\nRequire all denied\n</Directory>",
            Some(Class::WouldDeny),
        ),
        (
            "<Directory /x>\nOptions -Indexes\n</Directory>",
            Some(Class::Ignored),
        ),
        (
            "<Wonder x>\nRewriteRule ^ - [F]\n</Wonder>",
            Some(Class::WouldDeny),
        ),
        (
            "<Wonder x>\nHeader set X-A 1\n</Wonder>",
            Some(Class::Ignored),
        ),
        (
            "<FilesMatch \"(?R)\">\nDeny from all\n</FilesMatch>",
            Some(Class::WouldDeny),
        ),
        (
            "<If \"%{NOPE} == 'x'\">\nRequire all denied\n</If>",
            Some(Class::WouldDeny),
        ),
        (
            "<If \"%{NOPE} == 'x'\">\nHeader set X-A 1\n</If>",
            Some(Class::Ignored),
        ),
        ("<Files x>\nRequire all denied", Some(Class::WouldDeny)),
        ("</Files>", Some(Class::WouldDeny)),
        ("<Else>\n</Else>", Some(Class::WouldDeny)),
        ("<RequireAll>\n</RequireAll>", Some(Class::WouldDeny)),
        (
            "<Limit NOPE>\nDeny from all\n</Limit>",
            Some(Class::WouldDeny),
        ),
        (
            "<IfModule mod_nothing.c>\nRequire ldap-user x\n</IfModule>",
            None,
        ),
        ("Dney from all", Some(Class::WouldDeny)),
        ("Reqire all denied", Some(Class::WouldDeny)),
        ("FileETag None", Some(Class::Harmless)),
        (
            "AddOutputFilterByType DEFLATE text/html",
            Some(Class::Harmless),
        ),
        ("IndexOptions FancyIndexing", Some(Class::Harmless)),
        ("PassEnv HOME", Some(Class::Ignored)),
    ] {
        let found = findings(text);
        let worst = found.iter().map(|(_, class, _)| *class).max();
        assert_eq!(worst, expected, "{text}: {found:?}");
    }
}

/// A rule whose condition is not understood must not apply without it.
#[test]
fn a_rule_does_not_apply_without_its_condition() {
    use crate::case::{Asked, Case};
    use crate::site::{answer, rules};
    let case = Case {
        rules: vec![(
            ".htaccess".to_owned(),
            "RewriteEngine On\nRewriteCond %{QUERY_STRING} (?R)\nRewriteRule ^ /open.txt\nRewriteRule ^b /a.txt\n"
                .to_owned(),
        )],
        files: ["a.txt", "open.txt", "c.txt"].map(str::to_owned).to_vec(),
        ..Case::default()
    };
    let memory = Memory::of(&case);
    let rules = rules(&case, &memory);
    let first = |target: &str| answer(&rules, &memory, &Asked::get(target))[0].clone();
    assert_eq!(first("/c.txt"), "200 file /c.txt");
    assert_eq!(first("/b"), "200 file /a.txt");
}

/// What cannot be checked lets nobody in, also when the finding is passed over.
#[test]
fn what_is_not_known_stays_closed() {
    use crate::case::{Asked, Case};
    use crate::site::{answer, rules};
    for text in [
        "Require ldap-user bob",
        "Require host example.org",
        "<RequireAll>\nRequire all granted\nRequire not ldap-user bob\n</RequireAll>",
        "AuthType Digest\nAuthName x\nRequire valid-user",
    ] {
        let case = Case {
            rules: vec![(".htaccess".to_owned(), text.to_owned())],
            files: vec!["a.txt".to_owned()],
            ..Case::default()
        };
        let memory = Memory::of(&case);
        let rules = rules(&case, &memory);
        let found = answer(&rules, &memory, &Asked::get("/a.txt"));
        assert!(found[0] == "403" || found[0] == "500", "{text}: {found:?}");
    }
}

#[test]
fn a_file_outside_of_the_root_is_said() {
    let site = Site {
        document_root: b"/site/public",
        index: &[],
    };
    let inputs = [
        ("/site", "Require all denied"),
        ("/site/public", "Options -Indexes"),
        ("/site/publican", "x"),
    ];
    let rules = Rules::read(&site, &inputs, &Memory::default()).unwrap();
    let files: Vec<&str> = rules
        .findings()
        .iter()
        .map(|found| found.file.as_str())
        .collect();
    assert_eq!(files, ["/site/.htaccess", "/site/publican/.htaccess"]);
    assert!(
        rules
            .findings()
            .iter()
            .all(|found| found.class == Class::Ignored)
    );
}
