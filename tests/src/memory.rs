//! How much memory a process has needed.

use std::fs;

use crate::process::Process;

impl Process {
    /// The most memory that was ever resident, in bytes: `VmHWM` of `/proc/PID/status`,
    /// `proc_pid_status(5)`.
    pub fn peak_memory_bytes(self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))
            .expect("the process runs and is ours");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kibibytes.and_then(|number| number.parse::<u64>().ok()).expect("VmHWM in kB") * 1024
    }
}
