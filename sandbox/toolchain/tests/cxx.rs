//! `zapp c++`: programs do what g++ makes of the same source for this machine, and what guests cannot do is refused in words.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::driver::folder_with;
use crate::twin::{End, PATIENCE, driver, ready, run_guest, run_native_with};

const LEVELS: [&str; 4] = ["-O0", "-O1", "-O2", "-Os"];

/// Runs the C++ driver in a folder.
fn zapp_cxx(folder: &Path, args: &[&str]) -> Output {
    ready();
    driver()
        .arg("--driver-mode=g++")
        .current_dir(folder)
        .args(args)
        .output()
        .expect("the driver runs")
}

#[track_caller]
fn works(folder: &Path, args: &[&str]) -> String {
    let output = zapp_cxx(folder, args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn message(folder: &Path, args: &[&str]) -> String {
    let output = zapp_cxx(folder, args);
    assert!(!output.status.success(), "{args:?} must fail");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A program at every level beside its native twin, which has exceptions, glibc and the whole of libstdc++.
#[track_caller]
fn twins(name: &str) {
    let work = tempfile::tempdir().expect("a temporary folder");
    let source =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/programs/{name}.cc"));
    let text = source.to_str().expect("UTF-8");
    let native = work.path().join("native");
    let built = Command::new("g++")
        .args(["-std=c++17", "-O1", "-w", text, "-o"])
        .arg(&native)
        .status();
    assert!(built.expect("g++ runs").success());
    let expected = run_native_with(&native, work.path(), &[], &[], &[], PATIENCE);
    assert!(matches!(expected.end, End::Status(_)), "{expected:?}");
    for level in LEVELS {
        works(
            work.path(),
            &["-std=c++17", level, "-w", text, "-o", "guest"],
        );
        // Loading it is the verifier's proof.
        let found = run_guest(&work.path().join("guest"));
        assert_eq!(
            String::from_utf8_lossy(&found.stdout),
            String::from_utf8_lossy(&expected.stdout),
            "{name} {level}"
        );
        assert_eq!(found.end, expected.end, "{name} {level}");
    }
}

#[test]
fn objects_know_their_types() {
    twins("classes");
}

#[test]
fn static_objects_begin_and_end_in_order() {
    twins("statics");
}

#[test]
fn memory_is_had_or_refused() {
    twins("memory");
}

#[test]
fn containers_hold_what_they_should() {
    twins("containers");
}

#[test]
fn exceptions_are_an_error_that_says_so() {
    let folder = folder_with(&[
        ("throw.cc", "void f(int x) { if (x) throw x; }\n"),
        (
            "try.cc",
            "void g(); void f() { try { g(); } catch (int x) { (void)x; } }\n",
        ),
        (
            "noexcept.cc",
            "void g(); void f() noexcept(noexcept(g())) { g(); }\n",
        ),
    ]);
    for args in [
        &["-c", "throw.cc"][..],
        &["-c", "try.cc"],
        &["-fexceptions", "-c", "throw.cc"],
    ] {
        let said = message(folder.path(), args);
        assert!(said.contains("guests have no exceptions"), "{said}");
        assert!(said.contains(".cc:1:"), "{said}");
    }
    works(folder.path(), &["-fexceptions", "-c", "noexcept.cc"]);
}

/// What a library with exceptions would throw ends the program through `std::terminate`.
#[test]
fn what_would_be_thrown_ends_the_program() {
    let folder = folder_with(&[(
        "end.cc",
        "#include <cstdio>\n#include <cstdlib>\n#include <exception>\n#include <new>\n#include <typeinfo>\n#include <vector>\n\
         struct A { virtual ~A() {} virtual void f() = 0; A() { call(); } void call() { f(); } };\n\
         struct B : A { void f() override {} };\nstruct C { virtual ~C() {} };\n\
         int main() {\n std::set_terminate([] { std::puts(\"terminated\"); std::fflush(stdout); std::_Exit(9); });\n\
         std::vector<int> list(3);\n volatile std::size_t many = 1ull << 62; (void)many;\n C c; C *p = &c; (void)p;\n\
         std::puts(\"before\");\n CASE;\n std::puts(\"behind\"); }\n",
    )]);
    for case in [
        "list.at(static_cast<std::size_t>(list.size()))",
        "::operator new(many)",
        "new int[many]",
        "B b",
        "(void)dynamic_cast<A &>(*p)",
        "p = nullptr; (void)typeid(*p).name()",
        "[](std::size_t n) { static int x = n ? [](std::size_t) -> int { throw_length(); }(n) : 0; (void)x; }(many)",
    ] {
        let define = format!("-DCASE={case}");
        let helper = "-Dthrow_length()=std::__throw_length_error(\"long\")";
        works(
            folder.path(),
            &["-w", &define, helper, "end.cc", "-o", "end"],
        );
        let ran = run_guest(&folder.path().join("end"));
        assert_eq!(
            (ran.end, String::from_utf8_lossy(&ran.stdout).as_ref()),
            (End::Status(9), "before\nterminated\n"),
            "{case}"
        );
    }
}

#[test]
fn build_systems_get_their_answers() {
    let folder = folder_with(&[
        (
            "part.cpp",
            "#include \"part.hpp\"\nint Part::twice() const { return 2 * value; }\n",
        ),
        (
            "part.hpp",
            "struct Part { int value; int twice() const; };\n",
        ),
        (
            "main.cxx",
            "#include \"part.hpp\"\n#include <string>\nextern \"C\" int three(void);\n\
          int main() { return Part{20}.twice() + three() + std::string(\"four\").size() - 47; }\n",
        ),
        (
            "three.c",
            "int three(void) { int class = 3; return class; }\n",
        ),
        (
            "conftest.c",
            "#ifndef __cplusplus\n#error not C++\n#endif\nclass C {}; int main() { return 0; }\n",
        ),
    ]);
    let at = folder.path();
    works(
        at,
        &[
            "-c",
            "-O2",
            "-g",
            "-MD",
            "-fPIC",
            "-std=gnu++17",
            "part.cpp",
        ],
    );
    let dependencies = std::fs::read_to_string(at.join("part.d")).expect("the dependency file");
    assert!(
        dependencies.starts_with("part.o: part.cpp part.hpp"),
        "{dependencies}"
    );
    // The C driver knows C from C++ by its name, and links the library by its name, as gcc does.
    let cc = |args: &[&str]| {
        driver()
            .current_dir(at)
            .args(args)
            .output()
            .expect("the driver runs")
    };
    assert!(cc(&["-c", "three.c"]).status.success());
    assert!(cc(&["-c", "main.cxx"]).status.success());
    assert!(
        cc(&["main.o", "part.o", "three.o", "-lstdc++", "-o", "by-cc"])
            .status
            .success()
    );
    works(
        at,
        &[
            "main.o",
            "part.o",
            "three.o",
            "-static-libstdc++",
            "-o",
            "by-cxx",
        ],
    );
    for program in ["by-cc", "by-cxx"] {
        assert_eq!(
            run_guest(&at.join(program)).end,
            End::Status(0),
            "{program}"
        );
    }
    works(at, &["conftest.c"]);
    works(at, &["-xc++", "-S", "conftest.c", "-o", "conftest.s"]);
    assert_eq!(works(at, &["-dumpmachine"]).trim(), "x86_64-linux-musl");
    assert!(works(at, &["-E", "-dM", "-xc++", "/dev/null"]).contains("__cplusplus"));
    assert!(works(at, &["-M", "part.cpp"]).contains("part.hpp"));
    assert!(works(at, &["--version"]).starts_with("zapp c++ "));
    let help = works(at, &["--help"]);
    assert!(
        help.starts_with("zapp c++: ") && help.contains("throw and try"),
        "{help}"
    );
    assert!(
        message(at, &["three.c"]).contains("three.c:1:"),
        "C is C++ here"
    );
}
