//! Who sent SIGKILL? The kernel counts the processes that it ends for lack of memory.

use std::fs;
use std::path::{Path, PathBuf};

/// The count of the memory cgroup in which this process and its workers live; where there is none,
/// that of the machine.
#[derive(Debug)]
pub(crate) struct OomCounter {
    /// `None` when the kernel does not tell.
    file: Option<PathBuf>,
    /// Kills that are accounted for, at most what the file says.
    seen: u64,
}

impl OomCounter {
    pub(crate) fn new() -> Self {
        Self::find(Path::new("/proc"), Path::new("/sys/fs/cgroup"))
    }

    fn find(proc: &Path, cgroup: &Path) -> Self {
        let membership = fs::read_to_string(proc.join("self/cgroup")).unwrap_or_default();
        let mut candidates = Vec::new();
        for line in membership.lines() {
            // `hierarchy-ID:controllers:path`, cgroups(7). A container may see its own group as
            // the root, though the path is that of the machine.
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
            let (root, name) = match controllers {
                "" => (cgroup.to_owned(), "memory.events"),
                "memory" => (cgroup.join("memory"), "memory.oom_control"),
                _ => continue,
            };
            let own = root.join(path.trim_start_matches('/'));
            candidates.extend([own.join(name), root.join(name)]);
        }
        candidates.push(proc.join("vmstat"));
        let file = candidates.into_iter().find(|file| count(file).is_some());
        let seen = file.as_deref().and_then(count).unwrap_or(0);
        Self { file, seen }
    }

    /// Whether it was the kernel that killed the worker which has just been found dead by SIGKILL;
    /// `None` if that is not known. One kill explains one death.
    pub(crate) fn explains_a_death(&mut self) -> Option<bool> {
        let count = count(self.file.as_deref()?)?;
        let is_new = count > self.seen;
        self.seen += u64::from(is_new);
        Some(is_new)
    }
}

/// The number in the line `oom_kill`, which all of these files have since Linux 4.13.
fn count(file: &Path) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel with these files; paths under `proc` and `cgroup`.
    fn kernel(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        directory
    }

    fn counter(kernel: &tempfile::TempDir) -> OomCounter {
        OomCounter::find(&kernel.path().join("proc"), &kernel.path().join("cgroup"))
    }

    #[test]
    fn the_nearest_count_is_found() {
        let v1 = "9:cpu:/\n4:memory:/site/web\n0::/\n";
        let v2 = "0::/system.slice/web.service\n";
        let events = "low 0\noom 5\noom_kill 2\noom_group_kill 0\n";
        for (membership, file, text) in [
            (v2, "cgroup/system.slice/web.service/memory.events", events),
            (v2, "cgroup/memory.events", events),
            (v1, "cgroup/memory/site/web/memory.oom_control", "under_oom 0\noom_kill 2\n"),
            (v1, "cgroup/memory/memory.oom_control", "under_oom 0\noom_kill 2\n"),
            ("0::/\n", "proc/vmstat", "nr_free_pages 7\noom_kill 2\n"),
            ("", "proc/vmstat", "oom_kill 2\n"),
        ] {
            let kernel = kernel(&[("proc/self/cgroup", membership), (file, text)]);
            let counter = counter(&kernel);
            assert_eq!(counter.file, Some(kernel.path().join(file)));
            assert_eq!(counter.seen, 2);
        }
    }

    #[test]
    fn one_kill_explains_one_death() {
        let file = "cgroup/memory.events";
        let kernel = kernel(&[("proc/self/cgroup", "0::/\n"), (file, "oom_kill 2\n")]);
        let mut counter = counter(&kernel);
        assert_eq!(counter.explains_a_death(), Some(false));
        fs::write(kernel.path().join(file), "oom_kill 4\n").unwrap();
        let answers = [(); 3].map(|()| counter.explains_a_death());
        assert_eq!(answers, [Some(true), Some(true), Some(false)]);
        fs::remove_file(kernel.path().join(file)).unwrap();
        assert_eq!(counter.explains_a_death(), None);
    }

    #[test]
    fn a_kernel_that_does_not_count_leaves_it_open() {
        for files in [&[][..], &[("proc/vmstat", "nr_free_pages 7\n"), ("proc/self/cgroup", "??")]]
        {
            assert_eq!(counter(&kernel(files)).explains_a_death(), None);
        }
    }
}
