//! Progress bars on stderr, only where a person sees them.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar that counts bytes; invisible when stderr is no terminal or `quiet` is set.
pub(crate) fn bytes(total: u64, what: &'static str, quiet: bool) -> ProgressBar {
    // indicatif draws nothing when stderr is no terminal.
    let target = if quiet {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr()
    };
    let bar = ProgressBar::with_draw_target(Some(total), target);
    let style = ProgressStyle::with_template(
        "{prefix:>10} {bar:30} {percent:>3} % {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left {msg}",
    );
    bar.set_style(style.expect("the template is a constant"));
    bar.set_prefix(what);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
