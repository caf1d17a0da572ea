//! Each bound, and the nearest that is still accepted.

use std::time::{Duration, Instant};

use htaccess::limits::{
    DIRECTIVES_MAX, EXPANSION_BYTES_MAX, FILE_BYTES_MAX, FILES_MAX, LINE_BYTES_MAX, NESTING_MAX,
    PATTERN_SIZE_TOTAL_MAX, PATTERNS_MAX, REDIRECTS_MAX, TOTAL_BYTES_MAX,
};
use htaccess::{Exhausted, LoadError, Outcome, Rules, Site};

use crate::case::{Asked, Case};
use crate::site::{Memory, ROOT, answer, rules};

fn read(inputs: &[(String, String)]) -> Result<Rules, LoadError> {
    let site = Site {
        document_root: ROOT.as_bytes(),
        index: &[],
    };
    Rules::read(&site, inputs, &Memory::default())
}

fn read_one(text: String) -> Result<Rules, LoadError> {
    read(&[(ROOT.to_owned(), text)])
}

/// The limit that stopped the reading.
fn limit(read: Result<Rules, LoadError>) -> (&'static str, usize) {
    match read.expect_err("beyond a limit") {
        LoadError::Limit { what, max, .. } => (what, max),
        other => panic!("{other}"),
    }
}

#[test]
fn files_are_counted() {
    let files = |count: usize| -> Vec<(String, String)> {
        (0..count)
            .map(|index| (format!("{ROOT}/{index}"), "Options -Indexes\n".to_owned()))
            .collect()
    };
    assert!(read(&files(FILES_MAX)).is_ok());
    assert_eq!(
        limit(read(&files(FILES_MAX + 1))),
        (".htaccess files", FILES_MAX)
    );
}

#[test]
fn bytes_are_counted() {
    let comment = |len: usize| {
        let line = format!("#{}\n", "x".repeat(1022));
        let mut text = line.repeat(len / 1024);
        text.push_str(&"#".repeat(len % 1024));
        text
    };
    assert!(read_one(comment(FILE_BYTES_MAX)).is_ok());
    let what = "bytes in a .htaccess file";
    assert_eq!(
        limit(read_one(comment(FILE_BYTES_MAX + 1))),
        (what, FILE_BYTES_MAX)
    );

    let files = |last: usize| {
        let count = TOTAL_BYTES_MAX / FILE_BYTES_MAX;
        let mut files: Vec<(String, String)> = (0..count)
            .map(|index| (format!("{ROOT}/{index}"), comment(FILE_BYTES_MAX)))
            .collect();
        files.push((format!("{ROOT}/z"), comment(last)));
        files
    };
    assert!(read(&files(0)).is_ok());
    let what = "bytes in .htaccess files";
    assert_eq!(limit(read(&files(1))), (what, TOTAL_BYTES_MAX));

    let line = |len: usize| format!("Header set X-A \"{}\"", "x".repeat(len - 17));
    assert!(read_one(line(LINE_BYTES_MAX)).is_ok());
    let what = "bytes in a line";
    assert_eq!(
        limit(read_one(line(LINE_BYTES_MAX + 1))),
        (what, LINE_BYTES_MAX)
    );
}

#[test]
fn directives_and_sections_are_counted() {
    let directives = |count: usize| "A b\n".repeat(count);
    assert!(read_one(directives(DIRECTIVES_MAX)).is_ok());
    let found = limit(read_one(directives(DIRECTIVES_MAX + 1)));
    assert_eq!(found, ("directives", DIRECTIVES_MAX));

    let nested = |depth: usize| {
        format!(
            "{}Options -Indexes\n{}",
            "<IfModule mod_dir.c>\n".repeat(depth),
            "</IfModule>\n".repeat(depth)
        )
    };
    assert!(read_one(nested(NESTING_MAX)).is_ok());
    let found = limit(read_one(nested(NESTING_MAX + 1)));
    assert_eq!(found, ("sections within sections", NESTING_MAX));
}

#[test]
fn patterns_are_counted() {
    let small = |count: usize| "RedirectMatch a /b\n".repeat(count);
    assert!(read_one(small(PATTERNS_MAX)).is_ok());
    let found = limit(read_one(small(PATTERNS_MAX + 1)));
    assert_eq!(found, ("regular expressions", PATTERNS_MAX));

    let one = 8192;
    let large = |count: usize| format!("RedirectMatch a{{{one}}} /b\n").repeat(count);
    let most = PATTERN_SIZE_TOTAL_MAX / one;
    assert!(read_one(large(most)).is_ok());
    let what = "bytes and classes in regular expressions";
    assert_eq!(
        limit(read_one(large(most + 1))),
        (what, PATTERN_SIZE_TOTAL_MAX)
    );
}

/// What a request is answered with, and how long that took.
fn ask(rules_text: &str, files: &[&str], target: &str) -> (String, Duration) {
    let case = Case {
        rules: vec![(".htaccess".to_owned(), rules_text.to_owned())],
        files: files.iter().map(|file| (*file).to_owned()).collect(),
        ..Case::default()
    };
    let memory = Memory::of(&case);
    let rules = rules(&case, &memory);
    let start = Instant::now();
    let answered = answer(&rules, &memory, &Asked::get(target));
    (answered[0].clone(), start.elapsed())
}

#[test]
fn internal_redirects_are_counted() {
    let chain = |count: u32| -> String {
        let rules = (1..=count).map(|step| format!("RewriteRule ^s{step}$ /s{} [L]\n", step - 1));
        format!("RewriteEngine On\n{}", rules.collect::<String>())
    };
    let target = |count: u32| format!("/s{count}");
    let (found, _) = ask(&chain(REDIRECTS_MAX), &["s0"], &target(REDIRECTS_MAX));
    assert_eq!(found, "200 file /s0");
    let more = REDIRECTS_MAX + 1;
    let (found, _) = ask(&chain(more), &["s0"], &target(more));
    assert_eq!(found, format!("500 because {}", Exhausted::Redirects));
}

/// Beyond the limit a subrequest fails, as in Apache.
#[test]
fn subrequests_within_each_other_are_counted() {
    // Each level asks whether the next one could be asked; the last one could.
    let chain = |count: u32| -> String {
        let rules = (1..=count).map(|step| {
            let next = step - 1;
            format!("RewriteCond /s{next} !-U\nRewriteRule ^s{step}$ - [F]\n")
        });
        format!("RewriteEngine On\n{}", rules.collect::<String>())
    };
    let files: Vec<String> = (0..=12).map(|step| format!("s{step}")).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let target = |count: u32| format!("/s{count}");
    let (found, _) = ask(&chain(REDIRECTS_MAX), &files, &target(REDIRECTS_MAX));
    assert_eq!(found, "200 file /s10");
    let more = REDIRECTS_MAX + 1;
    // The innermost answer turns round on every level above it.
    let expected = if more % 2 == 1 {
        "403"
    } else {
        "200 file /s12"
    };
    let (found, _) = ask(&chain(more), &files, &target(more));
    assert_eq!(found, expected);
}

#[test]
fn expansions_are_bounded() {
    // Twice as long with each step; the path is nine bytes with the root's name and slash.
    let doubled = |steps: usize, more: usize| {
        let variables = (0..steps).map(|step| {
            let next = step + 1;
            format!("RewriteRule ^ - [E=V{next}:%{{ENV:V{step}}}%{{ENV:V{step}}}]\n")
        });
        format!(
            "RewriteEngine On\nRewriteRule ^ - [E=V0:{}]\n{}RewriteRule ^x$ /a.php?%{{ENV:V{steps}}}{} [L]\n",
            "y".repeat(1023),
            variables.collect::<String>(),
            "z".repeat(more),
        )
    };
    let room = EXPANSION_BYTES_MAX - 16 * 1023 - "/a.php?".len();
    let (found, _) = ask(&doubled(4, room), &["a.php"], "/x");
    assert!(found.starts_with("200 run /a.php"), "{}", &found[..40]);
    let (found, _) = ask(&doubled(4, room + 1), &["a.php"], "/x");
    assert_eq!(found, format!("500 because {}", Exhausted::Expansion));
}

#[test]
fn rounds_are_counted() {
    let rounds = |flag: &str| {
        format!(
            "RewriteEngine On\nRewriteRule ^(a*)a(b*)$ $1b$2 [{flag},DPI]\nRewriteRule ^b+$ /x.txt [L]\n"
        )
    };
    let target = format!("/{}", "a".repeat(8));
    let (found, _) = ask(&rounds("N=10"), &["x.txt"], &target);
    assert_eq!(found, "200 file /x.txt");
    let (found, _) = ask(&rounds("N=9"), &["x.txt"], &target);
    assert_eq!(found, format!("500 because {}", Exhausted::Rounds));
}

/// Rules that would take very long end with the budget, and soon.
#[test]
fn hostile_rules_end_with_the_budget() {
    let long = format!("/{}", "a".repeat(4000));
    let endless = "RewriteEngine On\nRewriteRule (.*) $1 [N]\n";
    let heavy = format!(
        "RewriteEngine On\n{}",
        "RewriteRule ^(?!b)(a|a)*c - [F]\n".repeat(100)
    );
    let wide = format!(
        "RewriteEngine On\n{}",
        "RewriteRule (?:[a-b]?[a-c]?[a-d]?){40}z - [F]\n".repeat(1000)
    );
    let globs = format!(
        "<Files \"{}b\">\nRequire all denied\n</Files>\n",
        "*a".repeat(400)
    )
    .repeat(250);
    let subrequests = "RewriteEngine On\nRewriteCond /%{REQUEST_URI}b -U [OR]\n\
                       RewriteCond /%{REQUEST_URI}c -U\nRewriteRule . -\n";
    for (name, rules) in [
        ("endless", endless),
        ("heavy", &heavy),
        ("wide", &wide),
        ("globs", &globs),
        ("subrequests", subrequests),
    ] {
        let (found, took) = ask(rules, &["x"], &long);
        // Subrequests have a limit of their own, which is no error.
        let ends = found.starts_with("500 because") || name == "subrequests";
        assert!(ends, "{name}: {found}");
        assert!(took < Duration::from_secs(4), "{name}: {took:?}");
    }
}

/// What must not wait does not: it says that it would cost more.
#[test]
fn a_decision_that_would_take_long_is_not_made_soon() {
    let heavy = "RewriteEngine On\nRewriteRule ^(?!b)(a|a)*c - [F]\n";
    let light = "RewriteEngine On\nRewriteRule ^(?!b)a*c - [F]\n";
    for (text, soon) in [(heavy, false), (light, true)] {
        let case = Case {
            rules: vec![(".htaccess".to_owned(), text.to_owned())],
            ..Case::default()
        };
        let memory = Memory::of(&case);
        let rules = rules(&case, &memory);
        let headers = htaccess::Table::default();
        let path = format!("/{}", "a".repeat(60));
        let request = htaccess::Request::get(path.as_bytes(), &headers);
        let start = Instant::now();
        let decision = rules.decide_soon(&request, &memory);
        assert_eq!(decision.is_some(), soon, "{text}");
        assert!(
            start.elapsed() < Duration::from_millis(500),
            "{:?}",
            start.elapsed()
        );
        let whole = rules.decide(&request, &memory);
        assert_eq!(matches!(whole.outcome, Outcome::Serve(_)), soon);
    }
}
