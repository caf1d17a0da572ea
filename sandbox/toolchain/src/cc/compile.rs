//! One input file to sandboxed assembly or an object file.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use super::options::{Input, Language, Mode, Options};
use super::tools;
use crate::error::{Error, Reason, RewriteError};
use crate::rewrite::rewrite;

/// `-E`, `-M`, `-MM`: GCC alone.
pub(crate) fn preprocess(options: &Options) -> Result<ExitCode, Error> {
    let cxx = options.inputs.iter().any(|input| input.language.is_cxx());
    let mut gcc = tools::compiler(options, cxx)?;
    gcc.arg("-E");
    if let Some(output) = &options.output {
        gcc.arg("-o").arg(output);
    }
    for input in &options.inputs {
        gcc.arg(language_option(input.language)).arg(&input.path);
    }
    let status = crate::process::status(&mut gcc)?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

/// `-c` and `-S`: each input on its own.
pub(crate) fn each_input(options: &Options) -> Result<(), Error> {
    let inputs: Vec<&Input> = options
        .inputs
        .iter()
        .filter(|input| input.language != Language::Object)
        .collect();
    if inputs.is_empty() {
        return Err(Error::Usage("no input files".into()));
    }
    if inputs.len() > 1 && options.output.is_some() {
        return Err(Error::Usage(
            "-o with several inputs makes no sense with -c or -S".into(),
        ));
    }
    let extension = if options.mode == Mode::Object {
        "o"
    } else {
        "s"
    };
    for input in inputs {
        let name = input.path.file_name().unwrap_or_else(|| "-".as_ref());
        let default = Path::new(name).with_extension(extension);
        let output = options.output.clone().unwrap_or(default);
        let assembly = sandboxed_assembly(options, input, &output)?;
        if options.mode == Mode::Object {
            assemble(options, &assembly, &output)?;
        } else if output == Path::new("-") {
            std::io::stdout()
                .write_all(assembly.as_bytes())
                .map_err(Error::io("-"))?;
        } else {
            std::fs::write(&output, assembly).map_err(Error::io(&output))?;
        }
    }
    Ok(())
}

/// Compiles an input to an object file.
pub(crate) fn object(options: &Options, input: &Input, output: &Path) -> Result<(), Error> {
    let assembly = sandboxed_assembly(options, input, output)?;
    assemble(options, &assembly, output)
}

/// GCC's assembly of an input, rewritten. `output` names the dependency file and its target.
fn sandboxed_assembly(options: &Options, input: &Input, output: &Path) -> Result<String, Error> {
    let stdin = if input.path == Path::new("-") {
        let mut text = Vec::new();
        std::io::stdin()
            .read_to_end(&mut text)
            .map_err(Error::io("-"))?;
        Some(text)
    } else {
        None
    };
    let compile = |extra: &[&str]| assembly(options, input, output, stdin.as_deref(), extra);
    let fail = |error| Error::Rewrite {
        file: input.path.display().to_string(),
        error,
    };
    let mut extra = Vec::new();
    let mut result = rewrite(&compile(&extra)?);
    let compiled = input.language.is_compiled();
    if let Err(RewriteError {
        reason: Reason::FlagsLive(_),
        ..
    }) = result
        && compiled
    {
        // GCC kept condition flags across a table jump; without tables it cannot.
        extra = vec!["-w", "-fno-jump-tables"];
        result = rewrite(&compile(&extra)?);
    }
    match result {
        Ok(text) => Ok(text),
        // Once more with line information, to name the source line.
        Err(error) if error.source.is_none() && compiled => {
            extra.extend(["-w", "-g1", "-gno-as-locview-support"]);
            rewrite(&compile(&extra)?).map_err(|located| {
                fail(if located.reason == error.reason {
                    located
                } else {
                    error
                })
            })
        }
        Err(error) => Err(fail(error)),
    }
}

/// Stock assembly of an input.
fn assembly(
    options: &Options,
    input: &Input,
    output: &Path,
    stdin: Option<&[u8]>,
    extra: &[&str],
) -> Result<String, Error> {
    if input.language == Language::Assembly && stdin.is_none() {
        return std::fs::read_to_string(&input.path).map_err(Error::io(&input.path));
    }
    let cxx = input.language.is_cxx();
    let mut gcc = tools::compiler(options, cxx)?;
    gcc.args(extra);
    dependencies(options, output, &mut gcc);
    auxiliary(output, &mut gcc);
    let stage = if input.language == Language::AssemblyWithCpp {
        "-E"
    } else {
        "-S"
    };
    gcc.args([stage, "-o", "-", language_option(input.language)])
        .arg(&input.path);
    gcc.stdin(if stdin.is_some() {
        Stdio::piped()
    } else {
        Stdio::inherit()
    })
    .stdout(Stdio::piped());
    if cxx {
        gcc.stderr(Stdio::piped());
    }
    let mut child = gcc.spawn().map_err(Error::io("gcc"))?;
    let messages = child
        .stderr
        .take()
        .map(|pipe| std::thread::spawn(|| explain(pipe)));
    if let (Some(text), Some(mut pipe)) = (stdin, child.stdin.take()) {
        // A compiler that stops early closes the pipe; its own message says why.
        let _closed = pipe.write_all(text);
    }
    let mut text = Vec::new();
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_to_end(&mut text).map_err(Error::io("gcc"))?;
    }
    let status = child.wait().map_err(Error::io("gcc"))?;
    // The thread reads until GCC closes its end; it has nothing to report.
    let _told = messages.map(std::thread::JoinHandle::join);
    if !status.success() {
        return Err(Error::Program {
            program: "gcc".into(),
            status,
        });
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Passes on what the compiler of C++ says. Where it advises to switch exceptions on, the reason why that cannot be follows.
fn explain(pipe: impl Read) {
    let mut lines = BufReader::new(pipe);
    let mut line = Vec::new();
    while lines
        .read_until(b'\n', &mut line)
        .is_ok_and(|length| length > 0)
    {
        // Whoever closed stderr does not want to hear it.
        let _closed = std::io::stderr().write_all(&line);
        if String::from_utf8_lossy(&line).contains("exception handling disabled") {
            eprintln!(
                "note: guests have no exceptions: `throw` and `try` cannot be compiled, with -fexceptions neither"
            );
        }
        line.clear();
    }
}

/// Names the dependency file and its target after the real output, not after the pipe GCC writes to.
fn dependencies(options: &Options, output: &Path, gcc: &mut Command) {
    if !options.dependencies {
        return;
    }
    if !options.dependency_file {
        gcc.arg("-MF").arg(output.with_extension("d"));
    }
    if !options.dependency_target {
        gcc.arg("-MQ").arg(output);
    }
}

/// Names auxiliary files, a profile above all (`-fprofile-use`), after the real output as well: GCC looks for `DIR/NAME.gcda`
/// beside `DIR/NAME.o`.
fn auxiliary(output: &Path, gcc: &mut Command) {
    let Some(name) = output.file_stem().filter(|_| output != Path::new("-")) else {
        return;
    };
    let mut folder = output.with_file_name("").into_os_string();
    if folder.is_empty() {
        folder.push("./");
    }
    let mut base = name.to_owned();
    base.push(".c");
    gcc.arg("-dumpdir").arg(folder);
    gcc.arg("-dumpbase").arg(base);
    gcc.args(["-dumpbase-ext", ".c"]);
}

fn language_option(language: Language) -> &'static str {
    match language {
        Language::C => "-xc",
        Language::PreprocessedC => "-xcpp-output",
        Language::Cxx => "-xc++",
        Language::PreprocessedCxx => "-xc++-cpp-output",
        Language::AssemblyWithCpp => "-xassembler-with-cpp",
        Language::Assembly => "-xassembler",
        Language::Object => "-xnone",
    }
}

/// What x86-64-v2 has and a guest may use. A configure script asks by compiling alone whether the processor can do more, so
/// the answer must not wait for the verifier, which sees whole programs only.
const INSTRUCTIONS: &str = "-march=core2+sse4.2+popcnt+nommx";

fn assemble(options: &Options, assembly: &str, output: &Path) -> Result<(), Error> {
    let mut tool = Command::new("as");
    tool.args([
        "--64",
        INSTRUCTIONS,
        "-mtune=generic64",
        "-mindex-reg",
        "-o",
    ])
    .arg(output)
    .args(&options.assembler)
    .arg("-")
    .stdin(Stdio::piped());
    if options.verbose {
        eprintln!("{tool:?}");
    }
    let mut child = tool.spawn().map_err(Error::io("as"))?;
    if let Some(mut pipe) = child.stdin.take() {
        let _closed = pipe.write_all(assembly.as_bytes());
    }
    let status = child.wait().map_err(Error::io("as"))?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::Program {
            program: "as".into(),
            status,
        })
    }
}

/// A place for an object file that is linked and forgotten.
pub(crate) fn temporary_object(folder: &Path, index: usize) -> PathBuf {
    folder.join(format!("{index}.o"))
}
