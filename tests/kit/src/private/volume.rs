//! A disk of a test's own, to be filled.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use super::process::assert_root;

/// A small file system in memory, on a folder; unmounted and removed with it when dropped.
#[derive(Debug)]
pub struct Volume {
    folder: PathBuf,
}

impl Volume {
    /// Makes one of so many MiB.
    ///
    /// # Panics
    /// Panics for users other than root.
    pub fn make(mebibytes: u32) -> Self {
        assert_root("mount file systems");
        let folder = super::folder("volume");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"])
            .arg(&folder)
            .status();
        assert!(mounted.is_ok_and(|status| status.success()), "mounting");
        Self { folder }
    }

    /// Folder at which the volume is mounted.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes all space that is left.
    pub fn fill(&self) {
        let mut ballast = File::options()
            .create(true)
            .append(true)
            .open(self.ballast())
            .expect("opening a file");
        // Down to the last page, whatever others take and free meanwhile.
        for size in [1 << 20, 4096] {
            let block = vec![0; size];
            while ballast.write_all(&block).is_ok() {}
        }
    }

    /// Gives it back.
    pub fn free(&self) {
        fs::remove_file(self.ballast()).expect("removing a file");
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Lazily: a process of the server may have a moment to live.
        let mut unmount = Command::new("umount");
        drop(unmount.arg("-l").arg(&self.folder).status());
        drop(fs::remove_dir(&self.folder));
    }
}
