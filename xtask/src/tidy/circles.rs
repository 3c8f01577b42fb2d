//! Circles between the module files of a crate.
//!
//! A file depends on the file that defines a name it imports or mentions by a path. `mod child;`
//! and `pub use child::Name;` alone make no dependency of a parent on its child. Calls of methods
//! are not seen.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::modules::{self, Import, Modules, Names};

/// How many imports of imports are followed.
const MAX_DEPTH: usize = 16;

/// The names that each file takes from each other file.
type Arrows = BTreeMap<(PathBuf, PathBuf), BTreeSet<String>>;

/// Returns the circles of the crate in `directory`, each with its files and dependencies.
///
/// # Errors
/// A source that cannot be read or is not Rust.
pub(super) fn circles(directory: &Path) -> Result<Vec<String>> {
    let mut descriptions = Vec::new();
    for root in ["src/lib.rs", "src/main.rs"] {
        let root = directory.join(root);
        if root.is_file() {
            let arrows = Crate { modules: modules::read(&root)? }.arrows();
            descriptions.extend(components(&arrows).iter().map(|files| describe(files, &arrows)));
        }
    }
    Ok(descriptions)
}

/// Describes a circle: the number of its files, then every dependency between two of them.
fn describe(files: &BTreeSet<&PathBuf>, arrows: &Arrows) -> String {
    let mut text = format!("a circle of {} modules", files.len());
    for ((from, to), names) in arrows {
        if files.contains(from) && files.contains(to) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let _ =
                write!(text, "\n  {} -> {}: {}", from.display(), to.display(), names.join(", "));
        }
    }
    text
}

/// Returns the groups of two or more files that all depend on each other.
fn components(arrows: &Arrows) -> Vec<BTreeSet<&PathBuf>> {
    let reached: BTreeMap<&PathBuf, BTreeSet<&PathBuf>> =
        arrows.keys().map(|(from, _)| (from, reached(from, arrows))).collect();
    let mut components = BTreeSet::new();
    for (file, to) in reached.iter().filter(|(file, to)| to.contains(*file)) {
        let back = to.iter().filter(|other| reached.get(**other).is_some_and(|r| r.contains(file)));
        components.insert(back.copied().collect());
    }
    components.into_iter().collect()
}

/// Returns the files that `start` depends on, directly or not.
fn reached<'a>(start: &'a PathBuf, arrows: &'a Arrows) -> BTreeSet<&'a PathBuf> {
    let mut reached = BTreeSet::new();
    let mut waiting = vec![start];
    while let Some(file) = waiting.pop() {
        let next = arrows.keys().filter(|(from, _)| from == file).map(|(_, to)| to);
        waiting.extend(next.filter(|to| reached.insert(*to)));
    }
    reached
}

/// The modules of a crate, whose names can be looked up.
struct Crate {
    modules: Modules,
}

/// The target of a path: a module, and a name in it unless the path is that of the module.
type Target<'a> = (&'a Names, Option<&'a String>);

impl Crate {
    fn arrows(&self) -> Arrows {
        let mut arrows = Arrows::new();
        for (path, module) in &self.modules {
            let imported = module.imports.iter().flat_map(|import| self.imported(path, import));
            let mentioned = module.paths.iter().filter_map(|names| self.resolve(path, names, 0));
            for (to, name) in imported.chain(mentioned) {
                let files = (module.file.clone(), self.modules[to].file.clone());
                if let Some(name) = name.filter(|_| files.0 != files.1) {
                    arrows.entry(files).or_default().insert(name.clone());
                }
            }
        }
        arrows
    }

    /// Where the names of an import lead, as far as the importing module depends on them.
    fn imported<'a>(&'a self, path: &'a Names, import: &'a Import) -> Vec<Target<'a>> {
        let words = &self.modules[path].words;
        let Some(target) = self.resolve(path, &import.path, 0) else { return Vec::new() };
        if import.name == "*" {
            let used = words.iter().filter(|word| self.has(target.0, word, 0));
            return used.filter_map(|word| self.descend(target.0, word, &[], 0)).collect();
        }
        let is_child = target.0.len() > path.len() && target.0.starts_with(path);
        let is_only_exported = import.exported && is_child && !words.contains(&import.name);
        if is_only_exported { Vec::new() } else { vec![target] }
    }

    /// Where a path leads from the module `from`; none for other crates and for local names.
    fn resolve<'a>(
        &'a self,
        from: &'a Names,
        path: &'a [String],
        depth: usize,
    ) -> Option<Target<'a>> {
        let [first, rest @ ..] = path else { return None };
        let start = match first.as_str() {
            "crate" => self.key(&[])?,
            "self" => from,
            "super" => self.key(from.split_last()?.1)?,
            _ if self.has(from, first, depth) => return self.descend(from, first, rest, depth),
            _ => return None,
        };
        match rest {
            [] => Some((start, None)),
            [first, ..] if first == "super" => self.resolve(start, rest, depth),
            [first, rest @ ..] => self.descend(start, first, rest, depth),
        }
    }

    /// Where `name`, then `rest`, leads from the module `at`.
    fn descend<'a>(
        &'a self,
        at: &'a Names,
        name: &'a String,
        rest: &'a [String],
        depth: usize,
    ) -> Option<Target<'a>> {
        let module = &self.modules[at];
        let found = if let Some(child) = self.child(at, name) {
            (child, None)
        } else if module.items.contains(name) || depth > MAX_DEPTH {
            (at, Some(name))
        } else if let Some(import) = module.imports.iter().find(|import| import.name == *name) {
            self.resolve(at, &import.path, depth + 1)?
        } else {
            let globs = module.imports.iter().filter(|import| import.name == "*");
            let mut targets = globs.filter_map(|glob| self.resolve(at, &glob.path, depth + 1));
            match targets.find(|(target, _)| self.has(target, name, depth + 1)) {
                Some((target, _)) => self.descend(target, name, &[], depth + 1)?,
                None => (at, Some(name)),
            }
        };
        match (found, rest) {
            ((module, None), [first, rest @ ..]) => self.descend(module, first, rest, depth),
            _ => Some(found),
        }
    }

    /// Whether a module defines or imports a name.
    fn has(&self, path: &Names, name: &String, depth: usize) -> bool {
        let module = &self.modules[path];
        let brings = |import: &Import| {
            import.name == *name
                || import.name == "*"
                    && depth < MAX_DEPTH
                    && self
                        .resolve(path, &import.path, depth + 1)
                        .is_some_and(|(target, _)| self.has(target, name, depth + 1))
        };
        module.items.contains(name)
            || self.child(path, name).is_some()
            || module.imports.iter().any(brings)
    }

    fn child(&self, path: &Names, name: &str) -> Option<&Names> {
        self.key(&[path.as_slice(), &[name.to_string()]].concat())
    }

    /// A module's path, as the table of modules holds it.
    fn key(&self, path: &[String]) -> Option<&Names> {
        self.modules.get_key_value(path).map(|(key, _)| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The circles of a crate of these files, without the name of its directory.
    fn circles_of(files: &[(&str, &str)]) -> Vec<String> {
        let place = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            let path = place.path().join("src").join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            std::fs::write(path, text).expect("a file");
        }
        let circles = circles(place.path()).expect("readable sources");
        let prefix = format!("{}/", place.path().join("src").display());
        circles.iter().map(|circle| circle.replace(&prefix, "")).collect()
    }

    const LIB: (&str, &str) = ("lib.rs", "mod a;\npub mod b;\npub use a::A;\npub use b::*;\n");

    #[test]
    fn exports_and_declarations_are_no_circle() {
        let a = ("a.rs", "use crate::b::{self, B};\npub struct A(B);\nfn f() { b::g() }\n");
        let b = ("b.rs", "use std::fs;\npub struct B;\npub fn g() { fs::read(\"crate::A\"); }\n");
        assert_eq!(circles_of(&[LIB, a, b]), [""; 0]);
    }

    #[test]
    fn a_name_through_an_export_is_where_it_is_defined() {
        let a = ("a.rs", "use crate::{B as Other};\npub struct A(Other);\n");
        let b = ("b.rs", "pub struct B;\nimpl B { fn f() -> crate::A { crate::A::new() } }\n");
        let want = "a circle of 2 modules\n  a.rs -> b.rs: B\n  b.rs -> a.rs: A";
        assert_eq!(circles_of(&[LIB, a, b]), [want]);
    }

    #[test]
    fn three_modules_are_a_circle_through_super() {
        let files = [
            ("lib.rs", "mod top;\n"),
            ("top.rs", "mod a;\nmod b;\npub const N: u8 = 1;\nfn f() { a::f() }\n"),
            ("top/a.rs", "pub fn f() { super::b::f() }\n"),
            ("top/b/mod.rs", "mod c;\nuse super::*;\npub fn f() -> u8 { N }\n"),
            ("top/b/c.rs", "fn f() -> u8 { super::super::N }\n"),
        ];
        let want = "a circle of 3 modules\n  top/a.rs -> top/b/mod.rs: f\n  \
                    top/b/mod.rs -> top.rs: N\n  top.rs -> top/a.rs: f";
        assert_eq!(circles_of(&files), [want]);
    }

    #[test]
    fn tests_may_go_in_circles() {
        let a = (
            "a.rs",
            "pub struct A;\n#[cfg(test)]\nuse crate::b::B;\n#[cfg(all(test, unix))]\nmod tests { use crate::b::B; }\n#[cfg(test)]\nmod more;\n",
        );
        let more = ("a/more.rs", "use crate::b::B;\n");
        let b = ("b.rs", "use crate::A;\npub struct B(A);\n");
        assert_eq!(circles_of(&[LIB, a, more, b]), [""; 0]);
        let tied = ("a.rs", "pub struct A;\n#[cfg(not(test))]\nfn f() -> crate::b::B {}\n");
        assert_eq!(circles_of(&[LIB, tied, b]).len(), 1);
    }

    #[test]
    fn an_export_that_the_parent_uses_is_a_dependency() {
        let b = ("b.rs", "pub struct B;\n");
        let child = ("a/child.rs", "pub struct Child(pub super::N);\n");
        let quiet = ("a.rs", "mod child;\npub use child::Child;\npub struct A;\npub struct N;\n");
        assert_eq!(circles_of(&[LIB, quiet, child, b]), [""; 0]);
        let used =
            ("a.rs", "mod child;\npub use child::Child;\npub struct A(Child);\npub struct N;\n");
        let want = "a circle of 2 modules\n  a/child.rs -> a.rs: N\n  a.rs -> a/child.rs: Child";
        assert_eq!(circles_of(&[LIB, used, child, b]), [want]);
    }

    #[test]
    fn files_of_platforms_are_one_module() {
        let a = "#[cfg_attr(windows, path = \"other.rs\")]\nmod a;\nmod b;\n";
        let files = [
            ("lib.rs", a),
            ("a.rs", "pub struct A;\n"),
            ("other.rs", "use crate::b::B;\npub struct A;\n"),
            ("b.rs", "use crate::a::A;\npub struct B;\n"),
        ];
        let want = "a circle of 2 modules\n  a.rs -> b.rs: B\n  b.rs -> a.rs: A";
        assert_eq!(circles_of(&files), [want]);
    }

    #[test]
    fn other_text_than_rust_is_an_error() {
        let place = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(place.path().join("src")).expect("a directory");
        std::fs::write(place.path().join("src/main.rs"), "fn main() {").expect("a file");
        let error = circles(place.path()).expect_err("an open brace").to_string();
        assert!(error.contains("main.rs: "), "{error}");
    }
}
