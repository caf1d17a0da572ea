//! What is read as an expression; what expressions mean is among the text cases.

use super::*;
use crate::limits::EXPRESSION_NESTING_MAX;

#[test]
fn expressions_are_read() {
    for text in [
        "true",
        "%{HTTP_HOST} == 'example.org'",
        "%{HTTP_HOST} = \"example.org\"",
        "%{QUERY_STRING} =~ /a=(\\d+)/i && $1 -gt 5",
        "%{REQUEST_URI} !~ m#^/a#",
        "-f %{REQUEST_FILENAME} or not -d '/x'",
        "!(%{HTTPS} == 'on') and tolower(%{req:X-A}) in {'a', 'b'}",
        "%{REMOTE_ADDR} -ipmatch '10.0.0.0/8' || -R '192.0.2.0/24'",
        "'abc' -strmatch '*b*' && 'ABC' -strcmatch 'a*' && '/a' -fnmatch '/?'",
        "%{TIME_HOUR} -ge 8 && %{TIME_HOUR} lt 18",
        "'a' . 'b' == \"%{tolower:AB}\"",
        "-n env('A') && -z osenv('B') && -T '1'",
        "%{REQUEST_METHOD} -in {'GET'}",
        "1 -eq 1",
    ] {
        assert!(
            condition(text.as_bytes()).is_ok(),
            "{text}: {:?}",
            condition(text.as_bytes())
        );
    }
    for text in [
        "",
        "a",
        "%{NOPE} == 'a'",
        "%{HTTP_HOST} ==",
        "'a' == 'b",
        "'a' =~ b",
        "'a' =~ /(/",
        "nope('a') == 'b'",
        "-q 'a'",
        "'a' -nope 'b'",
        "'a' == 'b' 'c'",
        "(true",
        "-R 'x'",
        "'a' in 'b'",
        "%{HTTP_HOST",
        "true &&",
    ] {
        assert!(condition(text.as_bytes()).is_err(), "{text}");
    }
    let error = condition(b"%{NOPE} == 'a'").unwrap_err();
    assert_eq!(error.to_string(), "unknown name in an expression: %NOPE");
}

#[test]
fn texts_are_read() {
    assert_eq!(text(b"plain").unwrap().constant(), Some(&b"plain"[..]));
    assert_eq!(
        text(b"a\\n\\101\\%").unwrap().constant(),
        Some(&b"a\nA%"[..])
    );
    assert_eq!(
        text(b"100% {x} $").unwrap().constant(),
        Some(&b"100% {x} $"[..])
    );
    assert!(text(b"%{REQUEST_URI} and $1").unwrap().constant().is_none());
    assert!(text(b"%{NOPE}").is_err());
    assert!(text(b"%{REQUEST_URI").is_err());
}

#[test]
fn expressions_are_bounded() {
    let nested = |depth: usize| {
        let text = format!("{}true{}", "(".repeat(depth), ")".repeat(depth));
        condition(text.as_bytes())
    };
    assert!(nested(EXPRESSION_NESTING_MAX - 1).is_ok());
    assert_eq!(
        nested(EXPRESSION_NESTING_MAX).unwrap_err(),
        ExpressionError::TooDeep
    );
    let negated = |count: usize| condition(format!("{}true", "!".repeat(count)).as_bytes());
    assert!(negated(EXPRESSION_NESTING_MAX - 1).is_ok());
    assert_eq!(
        negated(EXPRESSION_NESTING_MAX).unwrap_err(),
        ExpressionError::TooDeep
    );
    let called = |count: usize| {
        let text = format!(
            "{}'a'{} == 'a'",
            "tolower(".repeat(count),
            ")".repeat(count)
        );
        condition(text.as_bytes())
    };
    assert!(called(EXPRESSION_NESTING_MAX - 1).is_ok());
    assert_eq!(
        called(EXPRESSION_NESTING_MAX).unwrap_err(),
        ExpressionError::TooDeep
    );
    // A long chain is no deep one.
    let chain = vec!["true"; 10_000].join(" && ");
    assert!(condition(chain.as_bytes()).is_ok());
}
