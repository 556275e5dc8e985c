//! The machine a run was made on, so that no figure stands without it.

use std::{fs, path::Path};

use serde::Serialize;

/// What is printed above every table.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_mb: u64,
    pub(crate) kernel: String,
    pub(crate) disk: String,
    /// The load average of the last minute when the run began: above the number
    /// of cores, somebody else was measured too.
    pub(crate) load: String,
    pub(crate) date: String,
}

impl Machine {
    /// Reads `/proc` and `/sys`; a fact that cannot be read is `unknown`.
    pub(crate) fn read(folder: &Path) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Machine {
            cpu: colon_value(&cpuinfo, "model name")
                .unwrap_or("unknown")
                .to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mb: colon_value(&meminfo, "MemTotal")
                .and_then(|v| v.split(' ').next())
                .and_then(|kb| kb.parse::<u64>().ok())
                .unwrap_or(0)
                / 1024,
            kernel: format!("Linux {}", kernel.trim()),
            disk: disk(folder),
            load: load.split(' ').next().unwrap_or("unknown").to_owned(),
            date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
        }
    }

    /// One line for the head of the report.
    pub(crate) fn line(&self) -> String {
        format!(
            "{}: {}, {} cores, {:.0} GB, {}, {}; load {} at the start",
            self.date,
            self.cpu,
            self.cores,
            self.memory_mb as f64 / 1024.0,
            self.kernel,
            self.disk,
            self.load
        )
    }

    /// `amd-epyc-2-cores`, for a file name.
    pub(crate) fn slug(&self) -> String {
        let words = format!("{} {} cores", self.cpu, self.cores).to_lowercase();
        words
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join("-")
    }
}

fn colon_value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim())
}

/// The device and file system that `folder` is on: the mount with the longest
/// matching prefix.
fn disk(folder: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let Ok(folder) = folder.canonicalize() else {
        return "unknown disk".to_owned();
    };
    let best = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            Some((fields.next()?, fields.next()?, fields.next()?))
        })
        .filter(|(_, point, _)| folder.starts_with(point))
        .max_by_key(|(_, point, _)| point.len());
    let Some((device, _, kind)) = best else {
        return "unknown disk".to_owned();
    };
    let name = device.trim_start_matches("/dev/");
    let model = fs::read_to_string(format!("/sys/block/{name}/device/model"))
        .map(|model| format!(" {}", model.trim()))
        .unwrap_or_default();
    let turning = match fs::read_to_string(format!("/sys/block/{name}/queue/rotational")) {
        Ok(text) if text.trim() == "0" => ", not rotational",
        _ => "",
    };
    format!("{kind} on {device}{model}{turning}")
}

/// Whether `folder` lies in memory, where a flush costs nothing and every figure
/// about durability would be a lie.
pub(crate) fn in_memory(folder: &Path) -> bool {
    let disk = disk(folder);
    disk.starts_with("tmpfs") || disk.starts_with("ramfs")
}
