//! The server's variables: `%{REQUEST_URI}` and its like.

/// A variable that expressions and rules can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variable {
    /// A request header of this name.
    Header(&'static str),
    Method,
    Scheme,
    Uri,
    Filename,
    RemoteAddr,
    RemotePort,
    RemoteUser,
    ServerName,
    ServerPort,
    ServerAddr,
    Protocol,
    PathInfo,
    Query,
    IsSubrequest,
    DocumentRoot,
    AuthType,
    TheRequest,
    ContentType,
    Handler,
    Status,
    Https,
    Http2,
    Ipv6,
    Software,
    ApiVersion,
    Time(Time),
    LastModified,
    /// Known, but there is nothing to say: owner of a file, ident, administrator.
    Nothing,
}

/// A part of the present time, which is UTC here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Time {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Weekday,
    Whole,
}

/// Who asks: the two languages know different names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `RewriteCond` and `RewriteRule`.
    Rewrite,
    /// Expressions.
    Expression,
}

const BOTH: &[(&str, Variable)] = &[
    ("API_VERSION", Variable::ApiVersion),
    ("AUTH_TYPE", Variable::AuthType),
    ("CONN_REMOTE_ADDR", Variable::RemoteAddr),
    ("CONTEXT_DOCUMENT_ROOT", Variable::DocumentRoot),
    ("CONTEXT_PREFIX", Variable::Nothing),
    ("DOCUMENT_ROOT", Variable::DocumentRoot),
    ("HTTPS", Variable::Https),
    ("HTTP_ACCEPT", Variable::Header("accept")),
    ("HTTP_COOKIE", Variable::Header("cookie")),
    ("HTTP_FORWARDED", Variable::Header("forwarded")),
    ("HTTP_HOST", Variable::Header("host")),
    (
        "HTTP_PROXY_CONNECTION",
        Variable::Header("proxy-connection"),
    ),
    ("HTTP_REFERER", Variable::Header("referer")),
    ("HTTP_USER_AGENT", Variable::Header("user-agent")),
    ("IPV6", Variable::Ipv6),
    ("IS_SUBREQ", Variable::IsSubrequest),
    ("PATH_INFO", Variable::PathInfo),
    ("QUERY_STRING", Variable::Query),
    ("REMOTE_ADDR", Variable::RemoteAddr),
    // Names are not looked up: as with `HostnameLookups Off`.
    ("REMOTE_HOST", Variable::RemoteAddr),
    ("REMOTE_IDENT", Variable::Nothing),
    ("REMOTE_PORT", Variable::RemotePort),
    ("REMOTE_USER", Variable::RemoteUser),
    ("REQUEST_FILENAME", Variable::Filename),
    ("REQUEST_METHOD", Variable::Method),
    ("REQUEST_SCHEME", Variable::Scheme),
    ("REQUEST_URI", Variable::Uri),
    ("SCRIPT_FILENAME", Variable::Filename),
    ("SCRIPT_GROUP", Variable::Nothing),
    ("SCRIPT_USER", Variable::Nothing),
    ("SERVER_ADMIN", Variable::Nothing),
    ("SERVER_NAME", Variable::ServerName),
    ("SERVER_PORT", Variable::ServerPort),
    ("SERVER_PROTOCOL", Variable::Protocol),
    ("SERVER_SOFTWARE", Variable::Software),
    ("THE_REQUEST", Variable::TheRequest),
    ("TIME", Variable::Time(Time::Whole)),
    ("TIME_DAY", Variable::Time(Time::Day)),
    ("TIME_HOUR", Variable::Time(Time::Hour)),
    ("TIME_MIN", Variable::Time(Time::Minute)),
    ("TIME_MON", Variable::Time(Time::Month)),
    ("TIME_SEC", Variable::Time(Time::Second)),
    ("TIME_WDAY", Variable::Time(Time::Weekday)),
    ("TIME_YEAR", Variable::Time(Time::Year)),
];

const EXPRESSION_ONLY: &[(&str, Variable)] = &[
    ("CONN_LOG_ID", Variable::Nothing),
    ("CONTENT_TYPE", Variable::ContentType),
    ("DOCUMENT_URI", Variable::Uri),
    ("HANDLER", Variable::Handler),
    ("HTTP2", Variable::Http2),
    ("LAST_MODIFIED", Variable::LastModified),
    ("REQUEST_LOG_ID", Variable::Nothing),
    ("REQUEST_STATUS", Variable::Status),
];

impl Variable {
    /// The variable of a name, in any case.
    pub(crate) fn named(name: &[u8], dialect: Dialect) -> Option<Variable> {
        let own = match dialect {
            Dialect::Rewrite => [("SERVER_ADDR", Variable::ServerAddr)].as_slice(),
            Dialect::Expression => EXPRESSION_ONLY,
        };
        let mut all = BOTH.iter().chain(own);
        all.find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name))
            .map(|(_, variable)| *variable)
    }
}

/// Apache's spelling of the names that variables stand for; other names stay as they are written.
pub(crate) fn canonical_header(name: &[u8]) -> Vec<u8> {
    const KNOWN: [&str; 6] = [
        "Accept",
        "Cookie",
        "Forwarded",
        "Proxy-Connection",
        "Referer",
        "User-Agent",
    ];
    let known = KNOWN.iter().find(|known| {
        let is_lower = name.iter().all(|b| !b.is_ascii_uppercase());
        is_lower && known.as_bytes().eq_ignore_ascii_case(name)
    });
    known.map_or_else(|| name.to_vec(), |known| known.as_bytes().to_vec())
}

/// A moment in UTC, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    pub(crate) year: i64,
    pub(crate) month: i64,
    pub(crate) day: i64,
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    pub(crate) second: i64,
    pub(crate) weekday: i64,
}

impl Clock {
    /// From seconds since 1970. The calendar is computed as in Howard Hinnant's `civil_from_days`.
    pub(crate) fn at(seconds: i64) -> Clock {
        let days = seconds.div_euclid(86_400);
        let rest = seconds.rem_euclid(86_400);
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let month = if shifted_month < 10 {
            shifted_month + 3
        } else {
            shifted_month - 9
        };
        Clock {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * shifted_month + 2) / 5 + 1,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
            weekday: (days + 4).rem_euclid(7),
        }
    }

    /// One part as Apache writes it.
    pub(crate) fn part(&self, part: Time) -> String {
        match part {
            Time::Year => format!("{:04}", self.year),
            Time::Month => format!("{:02}", self.month),
            Time::Day => format!("{:02}", self.day),
            Time::Hour => format!("{:02}", self.hour),
            Time::Minute => format!("{:02}", self.minute),
            Time::Second => format!("{:02}", self.second),
            Time::Weekday => self.weekday.to_string(),
            Time::Whole => format!(
                "{:04}{:02}{:02}{:02}{:02}{:02}",
                self.year, self.month, self.day, self.hour, self.minute, self.second
            ),
        }
    }

    /// As headers write it: `Sun, 06 Nov 1994 08:49:37 GMT`.
    pub(crate) fn http(&self) -> String {
        self.dated(' ')
    }

    /// As `mod_rewrite` writes the end of a cookie: `Sun, 06-Nov-1994 08:49:37 GMT`.
    pub(crate) fn cookie(&self) -> String {
        self.dated('-')
    }

    fn dated(&self, separator: char) -> String {
        const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
        const MONTHS: [&str; 12] = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        let name = |names: &[&'static str], index: i64| {
            let index = usize::try_from(index).unwrap_or_default();
            names.get(index).copied().unwrap_or_default()
        };
        format!(
            "{}, {:02}{separator}{}{separator}{:04} {:02}:{:02}:{:02} GMT",
            name(&DAYS, self.weekday),
            self.day,
            name(&MONTHS, self.month - 1),
            self.year,
            self.hour,
            self.minute,
            self.second
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_taken_apart() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (4_102_444_799, "Thu, 31 Dec 2099 23:59:59 GMT"),
            (-1, "Wed, 31 Dec 1969 23:59:59 GMT"),
        ] {
            assert_eq!(Clock::at(seconds).http(), text);
        }
    }

    #[test]
    fn names_are_known_in_any_case_and_by_dialect() {
        let uri = Some(Variable::Uri);
        assert_eq!(Variable::named(b"request_uri", Dialect::Rewrite), uri);
        assert_eq!(Variable::named(b"CONTENT_TYPE", Dialect::Rewrite), None);
        let found = Variable::named(b"CONTENT_TYPE", Dialect::Expression);
        assert_eq!(found, Some(Variable::ContentType));
    }
}
