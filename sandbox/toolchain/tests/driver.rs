//! The driver as build systems use it.

use std::path::Path;
use std::process::Output;

use crate::twin::{End, driver, ready, run_guest};

/// Runs the driver in a folder.
fn zapp_cc(folder: &Path, args: &[&str]) -> Output {
    ready();
    driver()
        .current_dir(folder)
        .args(args)
        .output()
        .expect("the driver runs")
}

#[track_caller]
fn works(folder: &Path, args: &[&str]) -> Output {
    let output = zapp_cc(folder, args);
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

#[track_caller]
fn message(folder: &Path, args: &[&str]) -> String {
    let output = zapp_cc(folder, args);
    assert!(!output.status.success(), "{args:?} must fail");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn folder_with(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).expect("written");
    }
    folder
}

#[test]
fn a_library_and_a_program_in_steps() {
    let folder = folder_with(&[
        (
            "part.c",
            "#include \"part.h\"\nint twice(int x) { return 2 * x; }\n",
        ),
        ("part.h", "int twice(int x);\n"),
        (
            "main.c",
            "#include <stdio.h>\n#include \"part.h\"\nint main(void) { return printf(\"%d\\n\", twice(21)) - 3; }\n",
        ),
        (
            "three.S",
            "#define NAME three\n.globl NAME\nNAME: mov $3,%eax\n pop %rcx\n push %rcx\n ret\n",
        ),
        (
            "four.s",
            ".globl four\n.type four,@function\nfour: push %rbp\n mov %rsp,%rbp\n mov $4,%eax\n leave\n ret\n",
        ),
    ]);
    let at = folder.path();
    works(at, &["-c", "-O2", "-MD", "part.c"]);
    let dependencies = std::fs::read_to_string(at.join("part.d")).expect("the dependency file");
    assert!(
        dependencies.starts_with("part.o: part.c part.h"),
        "{dependencies}"
    );
    let archived = std::process::Command::new("ar")
        .args(["rcs", "libpart.a", "part.o"])
        .current_dir(at)
        .status();
    assert!(archived.expect("ar runs").success());
    works(at, &["-c", "four.s", "-o", "four.o"]);
    works(
        at,
        &[
            "main.c",
            "four.o",
            "-L.",
            "-lpart",
            "-lm",
            "-Wl,--gc-sections",
            "-s",
            "-o",
            "program",
        ],
    );
    let ran = run_guest(&at.join("program"));
    assert_eq!((ran.end, ran.stdout), (End::Status(0), b"42\n".to_vec()));
    // `pop` at a function's start takes the return address: refused, with its line.
    let refused = message(at, &["-c", "three.S"]);
    assert!(
        refused.contains("three.S:4") && refused.contains("pop"),
        "{refused}"
    );
}

/// GCC writes to a pipe, and would look for a profile by the name of the source in the working folder.
#[test]
fn a_profile_is_looked_for_beside_the_object() {
    let folder = folder_with(&[("part.c", "int twice(int x) { return 2 * x; }\n")]);
    std::fs::create_dir(folder.path().join("objects")).expect("a folder");
    for (object, profile) in [
        ("objects/other.o", "/objects/other.gcda"),
        ("part.o", "/part.gcda"),
    ] {
        let args = [
            "-c",
            "-O2",
            "-fprofile-use",
            "-Wmissing-profile",
            "part.c",
            "-o",
            object,
        ];
        let said = String::from_utf8_lossy(&works(folder.path(), &args).stderr).into_owned();
        assert!(said.contains(profile), "{said}");
    }
}

#[test]
fn configure_scripts_get_their_answers() {
    let folder = folder_with(&[
        ("conftest.c", "int main(void) { return 0; }\n"),
        ("bad.c", "int main(void) { return missing(); }\n"),
    ]);
    let at = folder.path();
    let text = |output: Output| String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        text(works(at, &["-dumpmachine"])).trim(),
        "x86_64-linux-musl"
    );
    assert!(text(works(at, &["--version"])).contains("GCC"));
    assert!(
        text(works(at, &["-print-file-name=libc.a"]))
            .trim()
            .ends_with("lib/libc.a")
    );
    assert!(text(works(at, &["-E", "-dM", "-xc", "/dev/null"])).contains("__x86_64__"));
    works(at, &["conftest.c"]);
    assert!(at.join("a.out").is_file());
    works(
        at,
        &[
            "-o",
            "conftest",
            "-g",
            "-O2",
            "-fPIC",
            "-pthread",
            "-Wl,-z,relro",
            "conftest.c",
            "-ldl",
            "-lpthread",
        ],
    );
    assert!(
        message(at, &["bad.c"]).contains("missing"),
        "undefined symbols fail"
    );
    assert!(message(at, &["-shared", "conftest.c"]).contains("shared"));
    assert!(message(at, &[]).contains("no input files"));
}

#[test]
fn flags_across_a_table_jump_are_compiled_away() {
    let folder = folder_with(&[]);
    let at = folder.path();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/flags.c");
    let source = source.display().to_string();
    // GCC's own assembly of this program has the flags of a comparison live behind a jump through a table.
    let stock = std::process::Command::new("gcc")
        .args([
            "-O2",
            "-S",
            "-fno-pie",
            "-fcf-protection=none",
            "-o",
            "stock.s",
        ])
        .args([
            "-ffixed-rbx",
            "-ffixed-r11",
            "-ffixed-r14",
            "-fomit-frame-pointer",
        ])
        .arg(&source)
        .current_dir(at)
        .status();
    assert!(stock.expect("gcc runs").success());
    let refused = message(at, &["-c", "stock.s"]);
    assert!(
        refused.contains("condition flags are live at .L"),
        "{refused}"
    );
    // From C the driver compiles it another way; `programs::flags_survive_a_switch` runs the result.
    works(at, &["-O2", "-c", &source, "-o", "flags.o"]);
}

#[test]
fn errors_name_the_source_line() {
    let folder = folder_with(&[(
        "stop.c",
        "int f(void)\n{\n\tunsigned low, high;\n\t__asm__ volatile(\"rdtsc\" : \"=a\"(low), \"=d\"(high));\n\treturn low;\n}\n",
    )]);
    let refused = message(folder.path(), &["-O2", "-c", "stop.c"]);
    assert!(
        refused.contains("stop.c:4") && refused.contains("rdtsc"),
        "{refused}"
    );
}

#[test]
fn a_fault_can_be_found_in_the_source() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/fault.c");
    let program = folder.path().join("fault");
    works(
        folder.path(),
        &["-g", "-O2", &source.display().to_string(), "-o", "fault"],
    );
    let ran = run_guest(&program);
    assert_eq!(ran.stdout, b"before\n");
    let End::Signal(_) = ran.end else {
        panic!("{:?}", ran.end)
    };
    // The line table leads from every instruction of `main` to this file, the faulting line among them.
    let lines = std::process::Command::new("objdump")
        .args(["-d", "-l", "--no-show-raw-insn"])
        .arg(&program)
        .output();
    let lines = String::from_utf8_lossy(&lines.expect("objdump runs").stdout).into_owned();
    assert!(lines.contains("fault.c:10"), "line 10 holds the store");
}

#[test]
fn sandboxed_assembly_can_be_assembled_again() {
    let folder = folder_with(&[("x.c", "int main(void) { return 5; }\n")]);
    works(folder.path(), &["-S", "-O1", "x.c"]);
    works(folder.path(), &["x.s", "-o", "x"]);
    assert_eq!(run_guest(&folder.path().join("x")).end, End::Status(5));
}

/// case reported-cc-feature-checks: configure scripts ask by compiling alone.
#[test]
fn instructions_beyond_the_baseline_are_refused_when_compiling() {
    let source = |target: &str, call: &str| {
        format!(
            "#include <immintrin.h>\n__attribute__((target(\"{target}\"))) __m128i f(__m128i x) {{ return {call}; }}\n"
        )
    };
    let folder = folder_with(&[
        (
            "clmul.c",
            &source("pclmul", "_mm_clmulepi64_si128(x, x, 0)"),
        ),
        ("aes.c", &source("aes", "_mm_aesenc_si128(x, x)")),
        ("sha.c", &source("sha", "_mm_sha256msg1_epu32(x, x)")),
        (
            "ssse3.c",
            &source("ssse3,sse4.1,sse4.2", "_mm_shuffle_epi8(x, x)"),
        ),
    ]);
    for (file, instruction) in [
        ("clmul.c", "pclmul"),
        ("aes.c", "aesenc"),
        ("sha.c", "sha256msg1"),
    ] {
        let message = message(folder.path(), &["-O2", "-c", file]);
        assert!(message.contains(instruction), "{message}");
    }
    // The nearest source that is fine: what the baseline has.
    works(folder.path(), &["-O2", "-c", "ssse3.c"]);
}

/// case reported-cc-feature-checks: a guest has no leaves to ask for.
#[test]
fn a_guest_asks_its_processor_and_hears_nothing() {
    let folder = folder_with(&[(
        "ask.c",
        "#include <cpuid.h>\n#include <stdio.h>\nint main(void) {\n unsigned a = 1, b = 1, c = 1, d = 1;\n \
         int known = __get_cpuid(1, &a, &b, &c, &d);\n __cpuid(7, a, b, c, d);\n \
         return printf(\"%d %u %u\\n\", known, b & bit_AVX2, __get_cpuid_max(0, 0)) < 0;\n}\n",
    )]);
    works(folder.path(), &["-O2", "ask.c", "-o", "ask"]);
    let ran = run_guest(&folder.path().join("ask"));
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "0 0 0\n");
}

/// case reported-cc-fldcw-gnulib: the control word that holds anyway may be set, and no other one.
#[test]
fn the_default_control_word_may_be_loaded() {
    let program = |change: &str| {
        format!(
            "int main(void) {{ unsigned short old, new;\n __asm__ volatile(\"fnstcw %0\" : \"=m\"(old));\n new = old {change};\n \
             __asm__ volatile(\"fldcw %0\" : : \"m\"(new));\n return 7; }}\n"
        )
    };
    let folder = folder_with(&[
        ("same.c", &program("| 0x300")),
        ("down.c", &program("| 0x400")),
    ]);
    for file in ["same", "down"] {
        works(folder.path(), &["-O2", &format!("{file}.c"), "-o", file]);
    }
    let end = |file: &str| run_guest(&folder.path().join(file)).end;
    assert_eq!(end("same"), End::Status(7));
    assert!(matches!(end("down"), End::Signal(_)), "{:?}", end("down"));
}

/// case reported-cc-autoconf-run-check: the option that configure scripts need is where one looks for it.
#[test]
fn the_help_is_the_drivers_own() {
    let folder = folder_with(&[]);
    let help = works(folder.path(), &["--help"]).stdout;
    let help = String::from_utf8_lossy(&help);
    assert!(help.starts_with("zapp cc: "), "{help}");
    assert!(
        help.contains("./configure --host=x86_64-linux-musl"),
        "{help}"
    );
    // What GCC itself can be asked is still answered by it.
    let warnings = works(folder.path(), &["--help=warnings"]).stdout;
    assert!(String::from_utf8_lossy(&warnings).contains("-Wall"));
}
