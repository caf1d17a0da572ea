//! GCC's command line, as far as a driver must understand it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::response;
use crate::error::Error;

/// Where the driver stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// `-E`, `-M`, `-MM`.
    Preprocess,
    /// `-S`
    Assembly,
    /// `-c`
    Object,
    Program,
}

/// What an input file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    C,
    /// C that needs no preprocessing (`.i`).
    PreprocessedC,
    Cxx,
    /// C++ that needs no preprocessing (`.ii`).
    PreprocessedCxx,
    /// `.S`
    AssemblyWithCpp,
    /// `.s`
    Assembly,
    /// For the linker.
    Object,
}

impl Language {
    /// True for what GCC compiles, false for assembly and objects.
    pub(crate) fn is_compiled(self) -> bool {
        self.is_cxx() || matches!(self, Language::C | Language::PreprocessedC)
    }

    pub(crate) fn is_cxx(self) -> bool {
        matches!(self, Language::Cxx | Language::PreprocessedCxx)
    }

    /// What `zapp c++` takes it for, as g++ does: C is C++ there.
    fn for_cxx(self) -> Language {
        match self {
            Language::C => Language::Cxx,
            Language::PreprocessedC => Language::PreprocessedCxx,
            other => other,
        }
    }
}

/// A file named on the command line.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    pub(crate) path: PathBuf,
    pub(crate) language: Language,
}

/// One thing for the linker, in command-line order.
#[derive(Debug, Clone)]
pub(crate) enum LinkItem {
    /// Index into the inputs.
    Input(usize),
    Argument(String),
}

/// The command line, taken apart.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) mode: Mode,
    /// `zapp c++`: C is C++, and programs have the C++ library.
    pub(crate) cxx: bool,
    pub(crate) output: Option<PathBuf>,
    pub(crate) inputs: Vec<Input>,
    /// For GCC, in order.
    pub(crate) compiler: Vec<String>,
    /// For `as`.
    pub(crate) assembler: Vec<String>,
    pub(crate) link: Vec<LinkItem>,
    /// Questions about the driver itself (`-dumpmachine`, `--version`, …).
    pub(crate) queries: Vec<String>,
    pub(crate) debug: bool,
    pub(crate) verbose: bool,
    pub(crate) no_standard_includes: bool,
    /// `-nostdinc++`: without the headers of the C++ library.
    pub(crate) no_cxx_includes: bool,
    pub(crate) no_standard_libraries: bool,
    pub(crate) no_start_files: bool,
    /// `-MD` or `-MMD`: GCC writes a dependency file while it compiles.
    pub(crate) dependencies: bool,
    pub(crate) dependency_file: bool,
    pub(crate) dependency_target: bool,
}

/// Options whose value is the next argument, passed to GCC as they are.
const WITH_VALUE: [&str; 17] = [
    "-I",
    "-D",
    "-U",
    "-include",
    "-imacros",
    "-isystem",
    "-iquote",
    "-idirafter",
    "-iprefix",
    "-iwithprefix",
    "-MF",
    "-MT",
    "-MQ",
    "-Xpreprocessor",
    "--param",
    "-A",
    "-isysroot",
];

/// Starts of options that choose what the sandbox has already chosen.
const IGNORED: [&str; 42] = [
    "-fPIC",
    "-fpic",
    "-fPIE",
    "-fpie",
    "-fno-PIC",
    "-fno-pic",
    "-fno-PIE",
    "-fno-pie",
    "-pie",
    "-no-pie",
    "-static",
    "-rdynamic",
    "-march=",
    "-mtune=",
    "-m64",
    "-mcmodel=",
    "-flto",
    "-fno-lto",
    "-ffat-lto",
    "-fuse-linker-plugin",
    "-fno-use-linker-plugin",
    "-fuse-ld=",
    "-fstack-protector",
    "-fno-stack-protector",
    "-fcf-protection",
    "-fstack-clash-protection",
    "-fno-stack-clash",
    "-fplt",
    "-fno-plt",
    "-ftls-model=",
    "-fasynchronous-unwind",
    "-fno-asynchronous-unwind",
    "-funwind-tables",
    "-fno-unwind-tables",
    "-save-temps",
    "-mno-red-zone",
    "-mred-zone",
    "-fsplit-stack",
    "-mindirect-branch",
    "-fdiagnostics-color",
    // Guests have no unwinder: a `throw` is an error of the compiler, with or without them.
    "-fexceptions",
    "-fno-exceptions",
];

/// Starts of options for instructions outside x86-64-v2.
const EXTENSIONS: [&str; 14] = [
    "-mavx", "-mfma", "-mbmi", "-mlzcnt", "-mf16c", "-mrdrnd", "-mrdseed", "-madx", "-msha",
    "-maes", "-mpclmul", "-mmmx", "-m3dnow", "-mmovbe",
];

/// Starts of options that cannot be honoured, with the reason.
const REFUSED: [(&str, &str); 8] = [
    (
        "-shared",
        "guests are static programs; there are no shared objects",
    ),
    ("-m32", "guests are 64-bit programs"),
    ("-mx32", "guests are 64-bit programs"),
    ("-masm=intel", "the rewriter reads AT&T syntax"),
    (
        "-fsanitize=",
        "sanitizers need a run-time library that guests do not have",
    ),
    (
        "-pg",
        "profiling needs a run-time library that guests do not have",
    ),
    (
        "--coverage",
        "coverage needs a run-time library that guests do not have",
    ),
    (
        "-fprofile-generate",
        "profiling needs a run-time library that guests do not have",
    ),
];

/// What makes `zapp cc` be `zapp c++`, as Clang's drivers say it.
pub(crate) const CXX_DRIVER: &str = "--driver-mode=g++";

impl Options {
    pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Options, Error> {
        let mut options = Options {
            mode: Mode::Program,
            cxx: false,
            output: None,
            inputs: Vec::new(),
            compiler: Vec::new(),
            assembler: Vec::new(),
            link: Vec::new(),
            queries: Vec::new(),
            debug: false,
            verbose: false,
            no_standard_includes: false,
            no_cxx_includes: false,
            no_standard_libraries: false,
            no_start_files: false,
            dependencies: false,
            dependency_file: false,
            dependency_target: false,
        };
        let mut flat = Vec::new();
        for arg in args {
            let text = arg.into_string().map_err(|bad| {
                Error::Usage(format!("argument is no UTF-8: {}", bad.to_string_lossy()))
            })?;
            response::expand(text, &mut flat, 0)?;
        }
        let mut args = flat.into_iter();
        let mut language = None;
        while let Some(arg) = args.next() {
            options.argument(arg, &mut args, &mut language)?;
        }
        if options.cxx {
            for input in &mut options.inputs {
                input.language = input.language.for_cxx();
            }
        }
        Ok(options)
    }

    fn argument(
        &mut self,
        arg: String,
        rest: &mut impl Iterator<Item = String>,
        language: &mut Option<Language>,
    ) -> Result<(), Error> {
        let mut value = |name: &str| {
            rest.next()
                .ok_or_else(|| Error::Usage(format!("missing value behind {name}")))
        };
        if let Some((_, why)) = REFUSED.iter().find(|(start, _)| arg.starts_with(start)) {
            return Err(Error::Usage(format!("{arg}: {why}")));
        }
        match arg.as_str() {
            "-c" => self.mode = Mode::Object,
            "-S" => self.mode = Mode::Assembly,
            "-E" => self.mode = Mode::Preprocess,
            "-M" | "-MM" => {
                self.mode = Mode::Preprocess;
                self.compiler.push(arg);
            }
            "-o" => self.output = Some(value("-o")?.into()),
            "-x" => *language = language_by_name(&value("-x")?)?,
            "-v" => self.verbose = true,
            CXX_DRIVER => self.cxx = true,
            "-nostdinc++" => self.no_cxx_includes = true,
            "-pthread" => self.compiler.push("-D_REENTRANT".into()),
            "-nostdinc" => {
                self.no_standard_includes = true;
                self.compiler.push(arg);
            }
            "-nostdlib" => {
                self.no_standard_libraries = true;
                self.no_start_files = true;
            }
            "-nodefaultlibs" | "-nolibc" => self.no_standard_libraries = true,
            "-nostartfiles" => self.no_start_files = true,
            "-s" => self.link_argument("-s"),
            "-L" | "-l" | "-u" | "-z" | "-T" | "-Xlinker" => {
                let value = value(&arg)?;
                match arg.as_str() {
                    "-Xlinker" => self.link_argument(value),
                    // The layout of a guest is fixed.
                    "-T" => return Err(Error::Usage("-T: the layout of a guest is fixed".into())),
                    // Only for shared objects and segments, which guests do not have.
                    "-z" => {}
                    _ => self.link_argument(format!("{arg}{value}")),
                }
            }
            "-Xassembler" => self.assembler.push(value(&arg)?),
            "-MD" | "-MMD" => {
                self.dependencies = true;
                self.compiler.push(arg);
            }
            name if WITH_VALUE.contains(&name) => {
                self.dependency_file |= name == "-MF";
                self.dependency_target |= matches!(name, "-MT" | "-MQ");
                let value = value(name)?;
                self.compiler.extend([arg, value]);
            }
            name if name.starts_with("-x") => *language = language_by_name(&name[2..])?,
            "-" => self.input(arg, language.or(Some(Language::C))),
            _ if !arg.starts_with('-') => self.input(arg, *language),
            _ => self.joined(arg),
        }
        Ok(())
    }

    /// Options that carry their value in the same argument.
    fn joined(&mut self, arg: String) {
        if let Some(list) = arg.strip_prefix("-Wl,") {
            for item in list.split(',') {
                self.link_argument(item);
            }
        } else if let Some(list) = arg.strip_prefix("-Wa,") {
            self.assembler.extend(list.split(',').map(str::to_owned));
        } else if arg.starts_with("-l") || arg.starts_with("-L") {
            self.link_argument(arg);
        } else if let Some(file) = arg.strip_prefix("-o") {
            self.output = Some(file.into());
        } else if is_query(&arg) {
            self.queries.push(arg);
        } else if arg.starts_with("-g") && !arg.starts_with("-gno") && !arg.starts_with("-grecord")
        {
            self.debug = arg != "-g0";
        } else if IGNORED
            .iter()
            .chain(&EXTENSIONS)
            .any(|start| arg.starts_with(start))
        {
        } else {
            self.dependency_file |= arg.starts_with("-MF");
            self.dependency_target |= arg.starts_with("-MT") || arg.starts_with("-MQ");
            self.compiler.push(arg);
        }
    }

    fn link_argument(&mut self, argument: impl Into<String>) {
        self.link.push(LinkItem::Argument(argument.into()));
    }

    fn input(&mut self, path: String, language: Option<Language>) {
        let path = PathBuf::from(path);
        let language = language.unwrap_or_else(|| language_by_extension(&path));
        self.link.push(LinkItem::Input(self.inputs.len()));
        self.inputs.push(Input { path, language });
    }
}

fn is_query(arg: &str) -> bool {
    arg.starts_with("-dump")
        || arg.starts_with("-print-")
        || arg.starts_with("--print-")
        || arg == "--version"
        || arg.starts_with("--help")
        || arg == "-qversion"
        || arg == "-V"
}

fn language_by_name(name: &str) -> Result<Option<Language>, Error> {
    Ok(match name {
        "none" => None,
        "c" | "c-header" => Some(Language::C),
        "cpp-output" => Some(Language::PreprocessedC),
        "c++" | "c++-header" => Some(Language::Cxx),
        "c++-cpp-output" => Some(Language::PreprocessedCxx),
        "assembler-with-cpp" => Some(Language::AssemblyWithCpp),
        "assembler" => Some(Language::Assembly),
        other => {
            return Err(Error::Usage(format!(
                "language {other} is not supported: guests are written in C and C++"
            )));
        }
    })
}

fn language_by_extension(path: &Path) -> Language {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("c" | "h") => Language::C,
        Some("i") => Language::PreprocessedC,
        Some("cc" | "cp" | "cxx" | "cpp" | "CPP" | "c++" | "C" | "hh" | "H" | "hpp" | "hxx") => {
            Language::Cxx
        }
        Some("ii") => Language::PreprocessedCxx,
        Some("S" | "sx") => Language::AssemblyWithCpp,
        Some("s") => Language::Assembly,
        _ => Language::Object,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Options {
        Options::parse(args.iter().map(OsString::from)).expect("valid options")
    }

    #[test]
    fn options_go_to_the_tool_they_are_for() {
        let options = parse(&[
            "-c",
            "-O2",
            "-g",
            "-fPIC",
            "-I",
            "inc",
            "a.c",
            "-Wl,-z,now",
            "-Wa,--noexecstack",
            "-lm",
            "-oa.o",
        ]);
        assert_eq!(options.mode, Mode::Object);
        assert_eq!(options.compiler, ["-O2", "-I", "inc"]);
        assert_eq!(options.assembler, ["--noexecstack"]);
        assert!(options.debug);
        assert_eq!(options.output, Some("a.o".into()));
        assert_eq!(options.inputs.len(), 1);
    }

    #[test]
    fn what_a_guest_cannot_be_is_refused() {
        let parse = |arg: &str| Options::parse([OsString::from(arg)]);
        assert!(parse("-shared").is_err());
        assert!(parse("-fsanitize=address").is_err());
        assert!(parse("-xfortran").is_err());
    }

    #[test]
    fn the_cxx_driver_takes_c_for_cxx() {
        let languages = |args: &[&str]| -> Vec<Language> {
            let options = parse(args);
            options.inputs.iter().map(|input| input.language).collect()
        };
        let files = ["a.c", "b.cpp", "c.C", "d.o", "e.s", "-xc", "f"];
        assert_eq!(
            languages(&files),
            [
                Language::C,
                Language::Cxx,
                Language::Cxx,
                Language::Object,
                Language::Assembly,
                Language::C
            ]
        );
        let as_cxx = languages(&[&files[..], &[CXX_DRIVER]].concat());
        assert_eq!((as_cxx[0], as_cxx[5]), (Language::Cxx, Language::Cxx));
        assert_eq!(
            (as_cxx[3], as_cxx[4]),
            (Language::Object, Language::Assembly)
        );
    }
}
