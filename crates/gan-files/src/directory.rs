//! Directories that appear whole.

use crate::{Staging, parent, replace, staging};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A directory that is filled under a hidden name beside its place, and takes that place whole.
///
/// Dropping it before [`NewDirectory::publish`] removes it and leaves the place as it was.
#[derive(Debug)]
pub struct NewDirectory {
    place: PathBuf,
    // Dropped before the directories that it is in.
    new: Staging,
    _parents: Parents,
}

impl NewDirectory {
    /// Makes the hidden directory beside `place`, and the directories that `place` is in.
    ///
    /// # Errors
    /// Directories that cannot be made; a place that is no directory.
    pub fn create(place: &Path) -> io::Result<Self> {
        // The place itself, where the path is `.` or a symbolic link.
        let place = match fs::canonicalize(place) {
            Ok(place) => place,
            Err(error) if error.kind() == io::ErrorKind::NotFound => place.into(),
            Err(error) => return Err(error),
        };
        if place.exists() {
            fs::read_dir(&place)?;
        }
        let parents = Parents::create(parent(&place))?;
        let new = staging(parent(&place))?;
        Ok(Self { place, new, _parents: parents })
    }

    /// The hidden directory, to be filled.
    pub fn path(&self) -> &Path {
        self.new.path()
    }

    /// Puts the directory in its place. What was there is moved aside first, put back on an error,
    /// and removed at the end: at no time does the place hold a mixture of both.
    ///
    /// # Errors
    /// Directories that cannot be renamed or removed.
    pub fn publish(self) -> io::Result<()> {
        replace(self.new, &self.place)
    }
}

/// Directories that were missing, from the outermost. Dropping this removes those that are empty.
#[derive(Debug)]
struct Parents(Vec<PathBuf>);

impl Parents {
    /// Makes a directory and those that it is in, as far as they are missing.
    fn create(directory: &Path) -> io::Result<Self> {
        let missing = directory.ancestors().take_while(|path| !path.as_os_str().is_empty());
        let mut parents: Vec<PathBuf> =
            missing.take_while(|path| !path.exists()).map(Path::to_path_buf).collect();
        parents.reverse();
        let parents = Self(parents);
        fs::create_dir_all(directory)?;
        Ok(parents)
    }
}

impl Drop for Parents {
    fn drop(&mut self) {
        // One that is not empty, as after publishing, is not removed.
        for directory in self.0.iter().rev() {
            let _ = fs::remove_dir(directory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_directory_takes_its_place_whole() {
        let root = tempfile::tempdir().unwrap();
        let place = root.path().join("deep/place");
        for text in ["first", "second"] {
            let new = NewDirectory::create(&place).unwrap();
            fs::write(new.path().join(text), text).unwrap();
            new.publish().unwrap();
            assert_eq!(names(&place), [text]);
            assert_eq!(names(&root.path().join("deep")), ["place"]);
        }
    }

    #[test]
    fn what_was_there_stays_until_the_end() {
        let root = tempfile::tempdir().unwrap();
        let place = root.path().join("place");
        fs::create_dir(&place).unwrap();
        fs::write(place.join("old"), "").unwrap();
        let new = NewDirectory::create(&place).unwrap();
        fs::write(new.path().join("half"), "").unwrap();
        drop(new);
        assert_eq!((names(&place), names(root.path())), (vec!["old".into()], vec!["place".into()]));
        // The new directory is lost before it is renamed: the old one is put back.
        let new = NewDirectory::create(&place).unwrap();
        fs::remove_dir(new.path()).unwrap();
        new.publish().unwrap_err();
        assert_eq!((names(&place), names(root.path())), (vec!["old".into()], vec!["place".into()]));
    }

    #[test]
    fn parents_stay_only_if_they_are_needed() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        fs::create_dir(path("kept")).unwrap();
        drop(NewDirectory::create(&path("kept/a/b/place")).unwrap());
        assert_eq!(names(&path("kept")), [""; 0]);
        fs::write(path("kept/file"), "").unwrap();
        NewDirectory::create(&path("kept/a/file/place")).unwrap().publish().unwrap();
        NewDirectory::create(&path("kept/file/a/place")).unwrap_err();
        // Another program has put something there meanwhile.
        let new = NewDirectory::create(&path("kept/x/y/place")).unwrap();
        fs::write(path("kept/x/theirs"), "").unwrap();
        drop(new);
        assert_eq!(names(&path("kept/x")), ["theirs"]);
        let mut left = names(&path("kept"));
        left.sort();
        assert_eq!(left, ["a", "file", "x"]);
    }

    #[test]
    fn a_file_is_no_place() {
        let root = tempfile::tempdir().unwrap();
        let place = root.path().join("file");
        fs::write(&place, "text").unwrap();
        NewDirectory::create(&place).unwrap_err();
        assert_eq!(fs::read(&place).unwrap(), b"text");
    }
}
