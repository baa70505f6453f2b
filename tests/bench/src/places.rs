//! Which processors a process may use.

use std::fs;

use anyhow::Context as _;
use rustix::{
    io::Errno,
    thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity},
};
use support::{RabbitNode, private::tree};

/// Gives the broker half of the processors and everything else here the other half, until dropped.
#[derive(Debug)]
pub(crate) struct Places {
    all: CpuSet,
}

impl Places {
    /// Parts them. What is started meanwhile is placed as who started it.
    pub(crate) fn apart(broker: &RabbitNode) -> anyhow::Result<Self> {
        let all = sched_getaffinity(None).context("asking for the processors")?;
        let (theirs, rest) = halves(&all);
        anyhow::ensure!(
            theirs.count() > 0,
            "it takes two processors to give the broker its own"
        );
        let places = Self { all };
        let brokers = broker.processes();
        for process in tree(std::process::id()) {
            let set = if brokers.contains(&process) {
                &theirs
            } else {
                &rest
            };
            place(process, set)?;
        }
        Ok(places)
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        for process in tree(std::process::id()) {
            // What cannot be moved back ends with this run.
            drop(place(process, &self.all));
        }
    }
}

/// The first half of the processors, and the others.
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

/// Places every thread of a process; those that it starts later follow.
fn place(process: u32, set: &CpuSet) -> anyhow::Result<()> {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else {
        return Ok(()); // It has ended.
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
    fn the_smaller_half_comes_first() {
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
