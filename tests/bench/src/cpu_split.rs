//! Assignment of processors to processes.

use std::fs;

use anyhow::Context as _;
use postroom_testkit::{RabbitNode, private::tree};
use rustix::{
    io::Errno,
    thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity},
};

/// Assigns half of the processors to the broker and the other half to all other processes, until dropped.
#[derive(Debug)]
pub(crate) struct CpuSplit {
    all: CpuSet,
}

impl CpuSplit {
    /// Assigns the processors. A process started later inherits its parent's assignment.
    pub(crate) fn new(broker: &RabbitNode) -> anyhow::Result<Self> {
        let all = sched_getaffinity(None).context("asking for the processors")?;
        let (theirs, rest) = halves(&all);
        anyhow::ensure!(
            theirs.count() > 0,
            "it takes two processors to give the broker its own"
        );
        let split = Self { all };
        let brokers = broker.processes();
        for process in tree(std::process::id()) {
            let set = if brokers.contains(&process) {
                &theirs
            } else {
                &rest
            };
            set_affinity(process, set)?;
        }
        Ok(split)
    }
}

impl Drop for CpuSplit {
    fn drop(&mut self) {
        for process in tree(std::process::id()) {
            // A process that cannot be reset ends with this run.
            drop(set_affinity(process, &self.all));
        }
    }
}

/// Returns the first half of the processors, and the others.
fn halves(all: &CpuSet) -> (CpuSet, CpuSet) {
    let (mut first, mut others) = (CpuSet::new(), CpuSet::new());
    let mut left = all.count() / 2;
    for processor in (0..CpuSet::MAX_CPU).filter(|processor| all.is_set(*processor)) {
        if left > 0 {
            first.set(processor);
            left -= 1;
        } else {
            others.set(processor);
        }
    }
    (first, others)
}

/// Assigns all threads of a process to a set of processors; threads started later inherit it.
fn set_affinity(process: u32, set: &CpuSet) -> anyhow::Result<()> {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else {
        return Ok(()); // The process has ended.
    };
    let ids = threads.flatten().filter_map(|thread| {
        let id = thread.file_name();
        Pid::from_raw(id.to_str()?.parse().ok()?)
    });
    for id in ids {
        match sched_setaffinity(Some(id), set) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => {
                return Err(error).with_context(|| format!("placing process {process}"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::thread::CpuSet;

    use super::halves;

    #[test]
    fn the_first_half_is_the_smaller_one() {
        let set = |processors: &[usize]| {
            let mut set = CpuSet::new();
            for processor in processors {
                set.set(*processor);
            }
            set
        };
        assert_eq!(halves(&set(&[1, 4, 6])), (set(&[1]), set(&[4, 6])));
        assert_eq!(halves(&set(&[3])), (set(&[]), set(&[3])));
    }
}
