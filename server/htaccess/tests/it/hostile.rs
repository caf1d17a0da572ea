//! Files and requests of any bytes: nothing panics, and everything ends.

use proptest::prelude::*;

use htaccess::{Request, Response, Rules, Site, Table};

use crate::case::Case;
use crate::generate;
use crate::site::{Memory, ROOT};

/// Reads files, decides about a request, and finishes the answer.
fn run(files: &[(String, Vec<u8>)], path: &[u8], query: &[u8], header: &[u8]) {
    let case = Case {
        files: ["a.php", "dir/x.txt", "link -> dir"]
            .map(str::to_owned)
            .to_vec(),
        ..Case::default()
    };
    let memory = Memory::of(&case);
    let site = Site {
        document_root: ROOT.as_bytes(),
        index: &["a.php".to_owned()],
    };
    let Ok(rules) = Rules::read(&site, files, &memory) else {
        return;
    };
    let headers: Table = [
        ("X-Test", header),
        ("User-Agent", header),
        ("Authorization", header),
    ]
    .into_iter()
    .collect();
    let path = [b"/", path].concat();
    let request = Request {
        query: Some(query),
        ..Request::get(&path, &headers)
    };
    if let Some(decision) = rules.decide_soon(&request, &memory) {
        let failed = rules.fail(&request, &memory, &decision, 404);
        for decision in [decision, failed] {
            let mut response = Response {
                status: 200,
                ..Response::default()
            };
            let _ = rules.finish(&request, &memory, &decision, &mut response);
            decision.environment();
        }
    }
}

/// Words that mean something, so that lines get past their names.
fn line() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("RewriteRule"),
        Just("RewriteCond"),
        Just("RewriteBase"),
        Just("RewriteOptions"),
        Just("Require"),
        Just("Header"),
        Just("SetEnvIf"),
        Just("SetEnvIfExpr"),
        Just("Redirect"),
        Just("RedirectMatch"),
        Just("ErrorDocument"),
        Just("Options"),
        Just("AddType"),
        Just("ExpiresByType"),
        Just("AuthType"),
        Just("<Files"),
        Just("<FilesMatch"),
        Just("<If"),
        Just("</Files>"),
        Just("</If>"),
        Just("<RequireAll>"),
        Just("</RequireAll>"),
        Just("<IfModule"),
        Just("<Limit"),
        Just("Allow from"),
        Just("Deny from"),
        Just("Order"),
        Just("DirectoryIndex"),
        Just("FallbackResource"),
        Just("RewriteEngine On\nRewriteRule"),
    ];
    (
        name,
        r#"[ -~]{0,40}|[.^$*+?()\[\]{}|\\%$:a-c0-9/" -]{0,40}"#,
    )
        .prop_map(|(name, rest)| format!("{name} {rest}\n"))
}

proptest! {
    #[test]
    fn lines_of_any_kind_do_no_harm(
        lines in prop::collection::vec(line(), 0..12),
        path in "[a-c/.%]{0,12}|a.php/x|dir/x.txt|link/x",
        query in "[a-c=&? ]{0,8}",
        header in "[ -~]{0,12}",
    ) {
        let files = [(ROOT.to_owned(), lines.concat().into_bytes())];
        run(&files, path.as_bytes(), query.as_bytes(), header.as_bytes());
    }

    #[test]
    fn bytes_of_any_kind_do_no_harm(
        text in prop::collection::vec(any::<u8>(), 0..200),
        path in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        run(&[(ROOT.to_owned(), text)], &path, &path, &path);
    }

    #[test]
    fn rules_of_the_generator_do_no_harm_to_any_path(seed in any::<u64>(), path in prop::collection::vec(any::<u8>(), 0..20)) {
        let case = generate::case(seed);
        let files: Vec<(String, Vec<u8>)> = case
            .rules
            .iter()
            .map(|(path, text)| {
                let directory = path.trim_end_matches(".htaccess").trim_end_matches('/');
                (format!("{ROOT}/{directory}"), text.clone().into_bytes())
            })
            .collect();
        run(&files, &path, b"x=1", b"bot");
    }
}
