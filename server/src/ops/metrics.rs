//! Counters, as Prometheus reads them (text format 0.0.4). Labels are names of configured sites and fixed words only:
//! nothing a client sends becomes one.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use worker::{Cost, Ending};

/// Upper bounds of the histogram of durations, in milliseconds.
const BUCKETS_MS: [u64; 12] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 5000, 30_000];

/// Counters of the whole server.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) connections: AtomicU64,
    pub(crate) in_flight: AtomicU64,
    sites: Mutex<BTreeMap<String, Counters>>,
}

/// Counters of one site. They stay when the image is swapped.
#[derive(Debug, Default)]
struct Counters {
    responses: BTreeMap<(&'static str, u16), u64>,
    endings: [u64; Ending::ALL.len()],
    buckets: [u64; BUCKETS_MS.len()],
    duration_us: u64,
    count: u64,
    bytes: u64,
    cost: Cost,
    /// Requests whose writes vanished.
    discarded_writes: u64,
    dropped_headers: u64,
    rejected: u64,
}

/// What a site is doing now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Now {
    pub(crate) queued: usize,
    pub(crate) worker_up: bool,
    pub(crate) restarts: u64,
    pub(crate) swaps: u64,
}

impl Metrics {
    fn with(&self, site: &str, change: impl FnOnce(&mut Counters)) {
        let mut sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
        match sites.get_mut(site) {
            Some(known) => change(known),
            None => change(sites.entry(site.to_owned()).or_default()),
        }
    }

    /// Counts a response that has been sent.
    pub(crate) fn response(
        &self,
        site: &str,
        handler: &'static str,
        status: u16,
        bytes: u64,
        took: Duration,
    ) {
        self.with(site, |site| {
            *site.responses.entry((handler, status)).or_default() += 1;
            site.bytes += bytes;
            site.count += 1;
            site.duration_us += u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            for (bucket, _) in site
                .buckets
                .iter_mut()
                .zip(BUCKETS_MS)
                .filter(|(_, bound)| ms < *bound)
            {
                *bucket += 1;
            }
        });
    }

    /// Counts what a guest did.
    pub(crate) fn guest(&self, site: &str, ending: Ending, cost: &Cost, dropped_headers: u32) {
        self.with(site, |site| {
            site.endings[ending as usize] += 1;
            site.dropped_headers += u64::from(dropped_headers);
            site.cost.cpu_ns += cost.cpu_ns;
            site.cost.traps += cost.traps;
            site.cost.private_bytes += cost.private_bytes;
            site.cost.discarded_bytes += cost.discarded_bytes;
            site.discarded_writes += u64::from(cost.discarded_bytes > 0);
            site.cost.after_bootstrap += cost.after_bootstrap;
        });
    }

    /// Counts a request that found the queue full.
    pub(crate) fn rejected(&self, site: &str) {
        self.with(site, |site| site.rejected += 1);
    }

    /// All counters as text.
    pub(crate) fn text(&self, buffered: u64, now: &[(String, Now)]) -> String {
        let mut text = String::new();
        let mut metric = |name: &str, kind: &str, help: &str, rows: &[(String, String)]| {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, value) in rows {
                let _ = writeln!(text, "{name}{labels} {value}");
            }
        };
        let plain =
            |value: &AtomicU64| vec![(String::new(), value.load(Ordering::Relaxed).to_string())];
        metric(
            "zapp_connections",
            "gauge",
            "Open client connections.",
            &plain(&self.connections),
        );
        metric(
            "zapp_requests_in_flight",
            "gauge",
            "Requests being answered.",
            &plain(&self.in_flight),
        );
        metric(
            "zapp_buffered_bytes",
            "gauge",
            "Request bodies and answers in memory.",
            &[(String::new(), buffered.to_string())],
        );
        let sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
        let each = |value: &dyn Fn(&Counters) -> String| -> Vec<_> {
            sites
                .iter()
                .map(|(name, site)| (site_label(name), value(site)))
                .collect()
        };
        let mut responses = Vec::new();
        let mut endings = Vec::new();
        for (name, site) in sites.iter() {
            for ((handler, status), count) in &site.responses {
                let labels = format!(
                    "{{site=\"{}\",handler=\"{handler}\",status=\"{status}\"}}",
                    escape(name)
                );
                responses.push((labels, count.to_string()));
            }
            for ending in Ending::ALL
                .into_iter()
                .filter(|&e| site.endings[e as usize] > 0)
            {
                let labels = format!("{{site=\"{}\",ending=\"{}\"}}", escape(name), ending.name());
                endings.push((labels, site.endings[ending as usize].to_string()));
            }
        }
        metric(
            "zapp_responses_total",
            "counter",
            "Responses sent.",
            &responses,
        );
        metric(
            "zapp_guest_endings_total",
            "counter",
            "How instances ended.",
            &endings,
        );
        metric(
            "zapp_response_bytes_total",
            "counter",
            "Body bytes sent.",
            &each(&|s| s.bytes.to_string()),
        );
        metric(
            "zapp_rejected_total",
            "counter",
            "Requests that found the queue or the buffers full.",
            &each(&|s| s.rejected.to_string()),
        );
        metric(
            "zapp_guest_cpu_seconds_total",
            "counter",
            "CPU time of instances.",
            &each(&|s| seconds(s.cost.cpu_ns / 1000)),
        );
        metric(
            "zapp_guest_traps_total",
            "counter",
            "Calls from guests to the host.",
            &each(&|s| s.cost.traps.to_string()),
        );
        metric(
            "zapp_guest_private_bytes_total",
            "counter",
            "Pages instances wrote.",
            &each(&|s| s.cost.private_bytes.to_string()),
        );
        metric(
            "zapp_guest_after_bootstrap_total",
            "counter",
            "Requests that went on from behind the site's bootstrap.",
            &each(&|s| s.cost.after_bootstrap.to_string()),
        );
        metric(
            "zapp_discarded_bytes_total",
            "counter",
            "Bytes written to the image's files or beside them, gone with the request.",
            &each(&|s| s.cost.discarded_bytes.to_string()),
        );
        metric(
            "zapp_discarded_writes_total",
            "counter",
            "Requests whose writes were discarded.",
            &each(&|s| s.discarded_writes.to_string()),
        );
        metric(
            "zapp_dropped_headers_total",
            "counter",
            "Response headers of guests that were dropped.",
            &each(&|s| s.dropped_headers.to_string()),
        );
        let gauge = |value: &dyn Fn(&Now) -> String| -> Vec<_> {
            now.iter()
                .map(|(name, now)| (site_label(name), value(now)))
                .collect()
        };
        metric(
            "zapp_queue_length",
            "gauge",
            "Requests waiting for an instance.",
            &gauge(&|n| n.queued.to_string()),
        );
        metric(
            "zapp_worker_up",
            "gauge",
            "Whether the site's worker runs.",
            &gauge(&|n| u8::from(n.worker_up).to_string()),
        );
        metric(
            "zapp_worker_restarts_total",
            "counter",
            "Workers that died.",
            &gauge(&|n| n.restarts.to_string()),
        );
        metric(
            "zapp_image_swaps_total",
            "counter",
            "Images replaced while serving.",
            &gauge(&|n| n.swaps.to_string()),
        );
        let histogram: Vec<_> = sites
            .iter()
            .flat_map(|(name, site)| histogram_rows(name, site))
            .collect();
        drop(sites);
        let _ = writeln!(
            text,
            "# HELP zapp_response_seconds Time from request to the end of its response."
        );
        let _ = writeln!(text, "# TYPE zapp_response_seconds histogram");
        for row in histogram {
            let _ = writeln!(text, "{row}");
        }
        text
    }
}

fn histogram_rows(name: &str, site: &Counters) -> Vec<String> {
    let name = escape(name);
    let bucket = |bound: &str, count: u64| {
        format!("zapp_response_seconds_bucket{{site=\"{name}\",le=\"{bound}\"}} {count}")
    };
    let mut rows: Vec<String> = BUCKETS_MS
        .iter()
        .zip(site.buckets)
        .map(|(bound, count)| bucket(&seconds(bound * 1000), count))
        .collect();
    rows.push(bucket("+Inf", site.count));
    rows.push(format!(
        "zapp_response_seconds_sum{{site=\"{name}\"}} {}",
        seconds(site.duration_us)
    ));
    rows.push(format!(
        "zapp_response_seconds_count{{site=\"{name}\"}} {}",
        site.count
    ));
    rows
}

fn site_label(name: &str) -> String {
    format!("{{site=\"{}\"}}", escape(name))
}

fn escape(label: &str) -> String {
    label
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// Microseconds as decimal seconds, without floating point.
fn seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_show_in_the_text() {
        let metrics = Metrics::default();
        metrics.response("a\"b", "static", 200, 5, Duration::from_millis(3));
        metrics.response("a\"b", "static", 200, 5, Duration::from_secs(60));
        metrics.guest(
            "a\"b",
            Ending::Fault,
            &Cost {
                cpu_ns: 1_500_000,
                ..Cost::default()
            },
            1,
        );
        let text = metrics.text(
            7,
            &[(
                "a\"b".into(),
                Now {
                    worker_up: true,
                    ..Now::default()
                },
            )],
        );
        for line in [
            "zapp_responses_total{site=\"a\\\"b\",handler=\"static\",status=\"200\"} 2",
            "zapp_guest_endings_total{site=\"a\\\"b\",ending=\"fault\"} 1",
            "zapp_guest_cpu_seconds_total{site=\"a\\\"b\"} 0.001500",
            "zapp_response_seconds_bucket{site=\"a\\\"b\",le=\"0.002000\"} 0",
            "zapp_response_seconds_bucket{site=\"a\\\"b\",le=\"0.005000\"} 1",
            "zapp_response_seconds_bucket{site=\"a\\\"b\",le=\"+Inf\"} 2",
            "zapp_worker_up{site=\"a\\\"b\"} 1",
            "zapp_buffered_bytes 7",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
    }
}
