//! What Apache's `.htaccess` files say about a request.
//!
//! [`Rules::read`] takes the files of a site, as bytes; [`Rules::decide`] takes a request, asks about files through
//! [`Files`], and says what answers: a file or script with its path and query as they were rewritten, a redirect, a
//! refusal, the page of an error; and [`Rules::finish`] changes the headers of the answer. Nothing here opens a file or
//! a socket, and nothing is remembered between requests but passwords that were right.
//!
//! The model is Apache 2.4 with `AllowOverride All` for the document root: a request goes through Apache's phases in
//! Apache's order (`engine`), sections are merged as its modules merge theirs (`section`, `module`), and a test runs both
//! on the same files (`tests/it/apache.rs`). Where Apache would only send a script's source instead of running it, this says
//! [`Handler::Never`]. What is not understood is a [`Finding`] with file and line; [`Class::WouldDeny`] when something
//! might be seen that should not be. What cannot be checked here, such as `Require ldap-user`, lets nobody in.
//!
//! Files come from images, which are hostile: [`limits`] has a ceiling for everything that is read, and a budget of steps
//! for every request.

#![forbid(unsafe_code)]

mod decide;
mod decision;
mod engine;
mod expression;
mod files;
mod finding;
mod glob;
mod hit;
pub mod limits;
mod module;
mod outcome;
mod password;
mod pattern;
mod reader;
mod request;
mod rewrite;
mod rules;
mod section;
mod subnet;
mod table;
mod text;
mod uri;
mod variable;

pub use decision::Decision;
pub use files::{Files, Kind, Stat};
pub use finding::{Class, Finding};
pub use limits::{Exhausted, LoadError};
pub use outcome::{Answer, Existing, Handler, MediaType, Outcome, Response, Target};
pub use request::Request;
pub use rules::{Rules, Site};
pub use table::Table;
