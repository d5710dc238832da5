//! The stats of a group, or of the process, as metrics.
//!
//! The latencies are a histogram if the recorder has buckets for them: see [`LATENCIES`]. Otherwise
//! the exporter for Prometheus makes a summary of them, which has no `_bucket` to ask for.

use std::collections::BTreeMap;
use std::time::Duration;

use metrics::{counter, gauge, histogram};
use taskgroup::{GroupStats, LatencyHistogram, ProcessStats, TaskStatus};

/// The bounds of the buckets for the times from a cancel to an end, in seconds: for
/// `PrometheusBuilder::set_buckets_for_metric` with the suffix `_cancel_latency_seconds`.
pub(crate) const LATENCIES: [f64; 7] = [0.00001, 0.0001, 0.001, 0.01, 0.1, 1.0, 10.0];

/// The numbers that are in the stats of a group and of the process.
pub(crate) struct Numbers {
    queued: u64,
    running: u64,
    spawned: u64,
    started: u64,
    outcomes: Vec<(TaskStatus, u64)>,
    peak: u64,
    permit_waits: u64,
    permit_wait: Duration,
    cancel_latency: LatencyHistogram,
    /// The threads that there are, the workers among them, and the idle of these.
    threads: Option<[usize; 3]>,
}

impl From<ProcessStats> for Numbers {
    fn from(stats: ProcessStats) -> Self {
        Numbers {
            queued: stats.queued,
            running: stats.running,
            spawned: stats.spawned(),
            started: stats.started(),
            outcomes: stats.outcomes().to_vec(),
            peak: stats.peak_threads as u64,
            permit_waits: stats.permit_waits,
            permit_wait: stats.permit_wait,
            threads: Some([stats.threads, stats.workers, stats.idle_workers]),
            cancel_latency: stats.cancel_latency,
        }
    }
}

impl From<GroupStats> for Numbers {
    fn from(stats: GroupStats) -> Self {
        let outcomes = stats.outcomes();
        Numbers {
            queued: stats.queued as u64,
            running: stats.running as u64,
            spawned: stats.spawned() as u64,
            started: stats.started() as u64,
            outcomes: outcomes.map(|(of, tasks)| (of, tasks as u64)).to_vec(),
            peak: stats.peak_running as u64,
            permit_waits: stats.permit_waits,
            permit_wait: stats.permit_wait,
            threads: None,
            cancel_latency: stats.cancel_latency,
        }
    }
}

/// Hands numbers to the recorder of the program.
pub(crate) struct Exporter {
    /// In front of the name of each metric. The only label is the outcome, which has five values.
    prefix: &'static str,
    /// The part of the histogram that it has exported.
    exported: BTreeMap<Duration, u64>,
}

impl Exporter {
    pub(crate) fn new(prefix: &'static str) -> Self {
        Exporter {
            prefix,
            exported: BTreeMap::new(),
        }
    }

    pub(crate) fn export(&mut self, numbers: Numbers) {
        let name = |metric| format!("{}_{metric}", self.prefix);
        gauge!(name("tasks_queued")).set(numbers.queued as f64);
        gauge!(name("tasks_running")).set(numbers.running as f64);
        gauge!(name("threads_peak")).set(numbers.peak as f64);
        counter!(name("tasks_spawned_total")).absolute(numbers.spawned);
        counter!(name("tasks_started_total")).absolute(numbers.started);
        for (outcome, tasks) in numbers.outcomes {
            counter!(name("tasks_ended_total"), "outcome" => outcome.as_str()).absolute(tasks);
        }

        counter!(name("permit_waits_total")).absolute(numbers.permit_waits);

        // It is a gauge in type only, since counters are whole numbers.
        gauge!(name("permit_wait_seconds")).set(numbers.permit_wait.as_secs_f64());
        if let Some([threads, workers, idle]) = numbers.threads {
            gauge!(name("threads")).set(threads as f64);
            gauge!(name("workers")).set(workers as f64);
            gauge!(name("workers_idle")).set(idle as f64);
        }

        // Registered, so that it is on the page before the first cancel.
        let latency = histogram!(name("cancel_latency_seconds"));
        let longest = numbers.cancel_latency.longest();
        for (end, tasks) in numbers.cancel_latency.buckets() {
            let exported = self.exported.entry(end).or_default();
            // The last bucket ends at `Duration::MAX`. The longest time stands in for that.
            let time = end.min(longest).as_secs_f64();
            latency.record_many(time, (tasks - *exported) as usize);
            *exported = tasks;
        }
    }
}
