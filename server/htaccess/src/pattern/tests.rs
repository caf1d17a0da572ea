//! Expressions as PCRE reads them, by both engines, and what they may cost.

use proptest::prelude::*;

use super::*;
use crate::limits::STEPS_MAX;

fn budget() -> Budget {
    Budget::new(STEPS_MAX)
}

/// The groups of the first match by the engine that is chosen.
fn groups(pattern: &str, subject: &str) -> Option<Vec<String>> {
    let pattern = Pattern::new(pattern.as_bytes(), false).unwrap();
    let found = pattern.find(subject.as_bytes(), &mut budget()).unwrap()?;
    let text = |group| String::from_utf8_lossy(found.get(group)).into_owned();
    let count = usize::try_from(pattern.groups).unwrap();
    Some((0..=count).map(text).collect())
}

/// The same by backtracking, whatever is chosen.
fn by_backtracking(pattern: &str, subject: &[u8]) -> Option<Vec<usize>> {
    let (node, count) = parse::parse(pattern.as_bytes(), false).unwrap();
    let program = Program::new(&node, count).unwrap();
    program.find(subject, &mut budget()).unwrap()
}

#[test]
fn expressions_are_matched_as_pcre_does() {
    for (pattern, subject, expected) in [
        (r"^index\.php$", "index.php", Some(vec!["index.php"])),
        (r"^index\.php$", "index.php\n", None),
        (".", "\n", Some(vec!["\n"])),
        ("a{2}{2}", "aaaaa", Some(vec!["aaaa"])),
        ("a{,2}", "a{,2}", Some(vec!["a{,2}"])),
        ("x{", "x{", Some(vec!["x{"])),
        (
            "(a|ab)(c|bcd)(d*)",
            "abcd",
            Some(vec!["abcd", "a", "bcd", ""]),
        ),
        (r"[\w.-]+@\w+", "x.y-z@host!", Some(vec!["x.y-z@host"])),
        (r"[[:digit:]a-c\]]+", "12b]x", Some(vec!["12b]"])),
        (r"[]a]+", "]a", Some(vec!["]a"])),
        (r"[^]a]+", "]xa", Some(vec!["x"])),
        (r"[a\-z]+", "-za", Some(vec!["-za"])),
        (r"[a-\d]+", "-5a", Some(vec!["-5a"])),
        (r"[[a]&&b]", "[&&b]", Some(vec!["[&&b]"])),
        (r"\/\<\>\_\ ", "/<>_ ", Some(vec!["/<>_ "])),
        (
            r"\x41\101\x{42}\cA\e",
            "AAB\x01\x1b",
            Some(vec!["AAB\x01\x1b"]),
        ),
        (r"\Qa.b\E.", "a.bc", Some(vec!["a.bc"])),
        ("(?i)ABC(?-i)D", "abcD", Some(vec!["abcD"])),
        ("(?i:AB)C", "abC", Some(vec!["abC"])),
        ("(?i:AB)C", "abc", None),
        ("a(?i)b|c", "C", Some(vec!["C"])),
        ("(?m)^b$", "a\nb\nc", Some(vec!["b"])),
        ("(?-s)a.", "a\n", None),
        ("(?x) a b # c\n c", "abc", Some(vec!["abc"])),
        ("(?U)a+", "aaa", Some(vec!["a"])),
        ("a+?b", "aab", Some(vec!["aab"])),
        (
            "(?P<n>a)(?<m>b)(?'o'c)",
            "abc",
            Some(vec!["abc", "a", "b", "c"]),
        ),
        (r"\bfoo\b", "a foo b", Some(vec!["foo"])),
        (r"foo\Z", "foo\n", Some(vec!["foo"])),
        (r"foo\z", "foo\n", None),
        (r"a\Rb", "a\r\nb", Some(vec!["a\r\nb"])),
        ("^(?!admin).*$", "admin/x", None),
        ("^(?!admin).*$", "user", Some(vec!["user"])),
        ("foo(?=bar)", "foobar", Some(vec!["foo"])),
        ("(?<=a|bc)d", "bcd", Some(vec!["d"])),
        ("(?<!a|bc)d", "bcd", None),
        ("(?<!a|bc)d", "xd", Some(vec!["d"])),
        (r"(a+)\1", "aaaa", Some(vec!["aaaa", "aa"])),
        (r"(?i)(a+)-\1", "aa-AA", Some(vec!["aa-AA", "aa"])),
        (r"(?<n>b)\k<n>\g{1}", "bbb", Some(vec!["bbb", "b"])),
        (r"(x)\g{-1}", "xx", Some(vec!["xx", "x"])),
        ("(?>a+)ab", "aaab", None),
        ("a++b", "aaab", Some(vec!["aaab"])),
        ("a*+a", "aaa", None),
        ("(?:(?=(a))a)+", "aa", Some(vec!["aa", "a"])),
        ("^(?:a?)*?$(?!x)", "aaa", Some(vec!["aaa"])),
        ("(a*)*(?!z)", "aab", Some(vec!["aa", ""])),
        ("(?#comment)a", "a", Some(vec!["a"])),
        ("", "x", Some(vec![""])),
        ("a||b", "b", Some(vec![""])),
        ("^*a", "a", Some(vec!["a"])),
    ] {
        let expected = expected.map(|list| list.iter().map(|s| (*s).to_owned()).collect());
        assert_eq!(
            groups(pattern, subject),
            expected,
            "{pattern} on {subject:?}"
        );
    }
}

#[test]
fn bytes_are_bytes() {
    let pattern = Pattern::new(b"^.\xe9[\xc0-\xff]$", true).unwrap();
    assert!(pattern.is_match(b"\xff\xe9\xfe", &mut budget()).unwrap());
    assert!(!pattern.is_match(b"a\xc9\xfe", &mut budget()).unwrap());
    let pattern = Pattern::new(b"(?!x)\xe9", true).unwrap();
    assert!(pattern.is_match(b"\xe9", &mut budget()).unwrap());
}

#[test]
fn bad_and_unknown_expressions_are_told_apart() {
    let syntax = [
        "(",
        ")",
        "[",
        "a)",
        "*",
        "a|*",
        "(?",
        "(?<n",
        r"\",
        "[z-a]",
        "a{3,2}",
        "a{70000}",
        r"\y",
        "[[:nope:]]",
        r"(?P=x)",
        r"\x{100}",
        "(?q)",
        r"[\Qa",
    ];
    for pattern in syntax {
        let error = Pattern::new(pattern.as_bytes(), false).unwrap_err();
        assert!(
            matches!(error, PatternError::Syntax(_)),
            "{pattern}: {error}"
        );
    }
    for pattern in [
        "(?R)",
        "(?1)",
        "(?(1)a|b)",
        r"\p{L}",
        r"\X",
        "(*ACCEPT)",
        "(?<=a+)b",
        r"a\Kb",
    ] {
        let error = Pattern::new(pattern.as_bytes(), false).unwrap_err();
        assert!(
            matches!(error, PatternError::Unsupported(_)),
            "{pattern}: {error}"
        );
    }
}

/// Each bound refuses what is just beyond it, and takes what is just within.
#[test]
fn expressions_are_bounded() {
    let size = |text: String| Pattern::new(text.as_bytes(), false).map(|p| p.size());
    assert!(size("a".repeat(PATTERN_BYTES_MAX)).is_ok());
    let error = size("a".repeat(PATTERN_BYTES_MAX + 1)).unwrap_err();
    assert_eq!(error, PatternError::TooLarge("bytes"));

    let repeated = |count: usize| size(format!("(?:a{{{count}}}){{4}}"));
    let most = PATTERN_SIZE_MAX / 4;
    assert_eq!(repeated(most).unwrap(), PATTERN_SIZE_MAX);
    assert_eq!(
        repeated(most + 1).unwrap_err(),
        PatternError::TooLarge("repetitions")
    );

    let nested = |depth: usize| size(format!("{}a{}", "(".repeat(depth), ")".repeat(depth)));
    let most = crate::limits::PATTERN_NESTING_MAX;
    assert!(nested(most).is_ok());
    let error = nested(most + 1).unwrap_err();
    assert_eq!(error, PatternError::TooLarge("groups within groups"));

    let stacked = |count: usize| size(format!("a{}", "?".repeat(2 * count)));
    assert!(stacked(most).is_ok());
    assert!(matches!(stacked(most + 1), Err(PatternError::TooLarge(_))));
}

/// Exponential expressions end with the budget, and soon.
#[test]
fn exponential_expressions_end_with_the_budget() {
    let start = std::time::Instant::now();
    let subject = [vec![b'a'; 40], b"c".to_vec()].concat();
    let pattern = Pattern::new(b"^(?!x)(a|a)*b", false).unwrap();
    assert_eq!(
        pattern.is_match(&subject, &mut budget()),
        Err(Exhausted::Steps)
    );
    // The same without looking around is linear, whatever the subject.
    let pattern = Pattern::new(b"^(a|a)*b", false).unwrap();
    assert_eq!(pattern.is_match(&subject, &mut budget()), Ok(false));
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}

/// The dearest that the linear engine may do for a whole budget.
#[test]
fn the_linear_engine_pays_enough() {
    let start = std::time::Instant::now();
    let pattern = Pattern::new(b"(?:[a-b]?[a-c]?[a-d]?){1300}z", false).unwrap();
    let subject = vec![b'a'; 8000];
    let mut budget = budget();
    let mut matches = 0;
    while pattern.find(&subject, &mut budget).is_ok() {
        matches += 1;
    }
    assert!(
        start.elapsed().as_secs() < 4,
        "{matches} in {:?}",
        start.elapsed()
    );
}

/// Regular expressions over a small alphabet in which nothing that may be empty is repeated: there engines differ in what
/// a group remembers.
fn regular() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("a".to_owned()),
        Just("b".to_owned()),
        Just(".".to_owned()),
        Just("[ab]".to_owned()),
        Just("[^a]".to_owned()),
        Just(r"\w".to_owned()),
    ];
    let solid = leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a}{b}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}|{b})")),
            (inner.clone(), "[+]|[+][?]|[{]1,3[}]|[{]2[}]")
                .prop_map(|(a, q)| format!("(?:{a}){q}")),
            inner.prop_map(|a| format!("({a})")),
        ]
    });
    (
        prop::collection::vec((solid, "[*]|[?]|[*][?]||"), 1..4),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(parts, start, end)| {
            let body: String = parts.iter().map(|(a, q)| format!("(?:{a}){q}")).collect();
            format!(
                "{}{body}{}",
                if start { "^" } else { "" },
                if end { "$" } else { "" }
            )
        })
}

proptest! {
    #[test]
    fn both_engines_agree_on_regular_expressions(pattern in regular(), subject in "[abc\n]{0,12}") {
        let linear = Pattern::new(pattern.as_bytes(), false).unwrap();
        prop_assert!(matches!(linear.engine, Engine::Linear(_)));
        let found = linear.find(subject.as_bytes(), &mut budget()).unwrap();
        let twin = by_backtracking(&pattern, subject.as_bytes());
        prop_assert_eq!(found.is_some(), twin.is_some(), "{} on {:?}", pattern, subject);
        if let (Some(found), Some(twin)) = (found, twin) {
            for (group, pair) in twin.chunks_exact(2).take(GROUPS_MAX).enumerate() {
                if group > usize::try_from(linear.groups).unwrap() {
                    break;
                }
                let range = (pair[1] != usize::MAX).then_some((pair[0], pair[1]));
                prop_assert_eq!(found.ranges[group], range, "group {} of {} on {:?}", group, pattern, subject);
            }
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in prop::collection::vec(any::<u8>(), 0..40), subject in "[a-c]{0,8}") {
        if let Ok(pattern) = Pattern::new(&text, true) {
            let _ = pattern.find(subject.as_bytes(), &mut Budget::new(100_000));
        }
    }

    #[test]
    fn no_expression_of_special_characters_makes_anything_panic(
        text in r"[()\[\]{}?*+|\\^$.a-c:=!<>0-9PQE,&#-]{0,24}",
        subject in "[a-c]{0,8}",
    ) {
        if let Ok(pattern) = Pattern::new(text.as_bytes(), false) {
            let _ = pattern.find(subject.as_bytes(), &mut Budget::new(100_000));
        }
    }
}
