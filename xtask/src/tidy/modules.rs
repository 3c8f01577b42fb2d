//! The modules of a crate, read from its tokens: what each defines, imports and mentions.
//!
//! Code under `#[cfg(test)]` is left out. A module with one file for each platform counts as one
//! module, under the name of the first file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Names of modules and items, from the outermost inwards.
pub(super) type Names = Vec<String>;

/// The modules of a crate by their paths; the root's path is empty.
pub(super) type Modules = BTreeMap<Names, Module>;

/// Keywords that the name of an item follows.
const DEFINING: [&str; 8] = ["const", "enum", "fn", "static", "struct", "trait", "type", "union"];

/// Words that an item or a statement begins with, as opposed to a field or a variant.
const BEGINNINGS: [&str; 17] = [
    "async",
    "const",
    "enum",
    "extern",
    "fn",
    "impl",
    "let",
    "macro_rules",
    "mod",
    "pub",
    "static",
    "struct",
    "trait",
    "type",
    "union",
    "unsafe",
    "use",
];

/// One module of a crate.
#[derive(Debug, Default)]
pub(super) struct Module {
    pub(super) file: PathBuf,
    /// The names that the module defines itself.
    pub(super) items: BTreeSet<String>,
    pub(super) imports: Vec<Import>,
    /// The paths in its code, of two or more names.
    pub(super) paths: BTreeSet<Names>,
    /// The words of its code, methods and fields left out.
    pub(super) words: BTreeSet<String>,
}

/// One name that a `use` brings into a module.
#[derive(Debug)]
pub(super) struct Import {
    pub(super) path: Names,
    /// What the importing module calls it; `*` stands for every name under the path.
    pub(super) name: String,
    /// Whether it is a `pub use`.
    pub(super) exported: bool,
}

/// Reads the crate whose root module is in `file`.
///
/// # Errors
/// A file that cannot be read or is not Rust.
pub(super) fn read(file: &Path) -> Result<Modules> {
    let mut modules = Modules::new();
    let directory = file.parent().unwrap_or(Path::new("")).to_path_buf();
    Reader { modules: &mut modules, path: Names::new(), directory }.file(file)?;
    Ok(modules)
}

/// Reads one module, and with readers of their own its child modules.
struct Reader<'a> {
    modules: &'a mut Modules,
    path: Names,
    /// Where the files of its child modules are.
    directory: PathBuf,
}

impl Reader<'_> {
    fn module(&mut self) -> &mut Module {
        self.modules.entry(self.path.clone()).or_default()
    }

    fn file(&mut self, file: &Path) -> Result<()> {
        let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let tokens: TokenStream =
            text.parse().map_err(|error| anyhow!("{}: {error}", file.display()))?;
        let module = self.module();
        if module.file.as_os_str().is_empty() {
            module.file = file.to_path_buf();
        }
        self.tokens(tokens, true)
    }

    /// Reads the tokens of the module, or of a group of tokens inside it.
    fn tokens(&mut self, tokens: TokenStream, is_top: bool) -> Result<()> {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        // The values of `#[path = "..."]` before the next module.
        let mut files = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            let (before, rest) = tokens.split_at(at);
            if let Some(attribute) = attribute(rest) {
                if is_test(attribute.clone()) {
                    at += item_length(rest);
                } else {
                    path_values(attribute.clone(), &mut files);
                    self.tokens(attribute, false)?;
                    at += 2;
                }
                continue;
            }
            at += match (word(&rest[0]).as_deref(), rest) {
                (Some("use"), [_, next, ..]) if !is_punct(next, '<') => {
                    let length = rest.iter().take_while(|token| !is_punct(token, ';')).count();
                    let exported = before.iter().rev().take(2).any(|token| is_word(token, "pub"));
                    let mut reader = UseTree { imports: &mut self.module().imports, exported };
                    reader.branch(&rest[1..length], Names::new());
                    length
                }
                (Some("mod"), [_, name, body, ..]) => {
                    self.child(word(name).unwrap_or_default(), body, &std::mem::take(&mut files))?;
                    3
                }
                (Some(_), _) => self.mention(before, rest, is_top),
                (None, [TokenTree::Group(group), ..]) => {
                    self.tokens(group.stream(), false)?;
                    1
                }
                _ => 1,
            };
        }
        Ok(())
    }

    /// Notes the path or word that `rest` begins with; returns how many tokens it has.
    fn mention(&mut self, before: &[TokenTree], rest: &[TokenTree], is_top: bool) -> usize {
        let (path, length) = path(rest);
        let last = before.last();
        let module = self.module();
        if path.len() == 1 && is_defining(before) {
            if is_top {
                module.items.extend(path);
            }
        } else if !last.is_some_and(|token| is_punct(token, '.')) && !ends_in_colons(before) {
            module.words.insert(path[0].clone());
            if path.len() > 1 {
                module.paths.insert(path);
            }
        }
        length
    }

    /// Reads a child module: its body in braces, or its files.
    fn child(&mut self, name: String, body: &TokenTree, files: &[String]) -> Result<()> {
        let parent = self.module().file.clone();
        let mut child = Reader {
            path: [self.path.as_slice(), std::slice::from_ref(&name)].concat(),
            directory: self.directory.join(&name),
            modules: self.modules,
        };
        if let TokenTree::Group(body) = body {
            child.module().file = parent;
            return child.tokens(body.stream(), true);
        }
        let beside = parent.parent().unwrap_or(Path::new(""));
        let mut files: Vec<PathBuf> = files.iter().map(|file| beside.join(file)).collect();
        let usual = [self.directory.join(format!("{name}.rs")), child.directory.join("mod.rs")];
        files.splice(0..0, usual);
        for file in files.iter().filter(|file| file.is_file()) {
            child.file(file)?;
        }
        Ok(())
    }
}

/// Reads what follows a `use`.
struct UseTree<'a> {
    imports: &'a mut Vec<Import>,
    exported: bool,
}

impl UseTree<'_> {
    /// Reads one branch, whose path so far is `prefix`.
    fn branch(&mut self, tokens: &[TokenTree], mut prefix: Names) {
        let (path, length) = path(tokens);
        if prefix.is_empty() || path != ["self"] {
            prefix.extend(path);
        }
        let last = prefix.last().cloned().unwrap_or_default();
        let colons = tokens[length..].iter().take_while(|token| is_punct(token, ':')).count();
        match &tokens[length + colons..] {
            [TokenTree::Group(group), ..] => {
                let tokens: Vec<TokenTree> = group.stream().into_iter().collect();
                for branch in tokens.split(|token| is_punct(token, ',')) {
                    self.branch(branch, prefix.clone());
                }
            }
            [star, ..] if is_punct(star, '*') => self.import(prefix, "*".to_string()),
            [_, name, ..] => self.import(prefix, word(name).unwrap_or_default()),
            _ if length > 0 => self.import(prefix, last),
            _ => {}
        }
    }

    fn import(&mut self, path: Names, name: String) {
        self.imports.push(Import { path, name, exported: self.exported });
    }
}

fn word(token: &TokenTree) -> Option<String> {
    match token {
        TokenTree::Ident(word) => Some(word.to_string()),
        _ => None,
    }
}

fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(found) if found == word)
}

fn is_punct(token: &TokenTree, char: char) -> bool {
    matches!(token, TokenTree::Punct(found) if found.as_char() == char)
}

fn ends_in_colons(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [.., a, b] if is_punct(a, ':') && is_punct(b, ':'))
}

/// Whether the next word is the name of an item.
fn is_defining(before: &[TokenTree]) -> bool {
    match before {
        [.., keyword, bang] if is_punct(bang, '!') => is_word(keyword, "macro_rules"),
        [.., keyword] => word(keyword).is_some_and(|word| DEFINING.contains(&word.as_str())),
        [] => false,
    }
}

/// The names joined by `::` that the tokens begin with, and how many tokens they are.
fn path(tokens: &[TokenTree]) -> (Names, usize) {
    let mut names: Names = tokens.first().and_then(word).into_iter().collect();
    let mut length = names.len();
    while let (1.., [a, b, name, ..]) = (length, &tokens[length..])
        && is_punct(a, ':')
        && is_punct(b, ':')
        && let Some(name) = word(name)
    {
        names.push(name);
        length += 3;
    }
    (names, length)
}

/// What is in the brackets of the attribute that the tokens begin with.
fn attribute(tokens: &[TokenTree]) -> Option<TokenStream> {
    match tokens {
        [hash, TokenTree::Group(group), ..]
            if is_punct(hash, '#') && group.delimiter() == Delimiter::Bracket =>
        {
            Some(group.stream())
        }
        _ => None,
    }
}

/// Whether an attribute is a `cfg` that holds in tests only.
fn is_test(attribute: TokenStream) -> bool {
    fn requires_test(condition: TokenStream) -> bool {
        let tokens: Vec<TokenTree> = condition.into_iter().collect();
        tokens.iter().enumerate().any(|(i, token)| match token {
            TokenTree::Group(group) => {
                is_word(&tokens[i - 1], "all") && requires_test(group.stream())
            }
            _ => is_word(token, "test"),
        })
    }
    let tokens: Vec<TokenTree> = attribute.into_iter().collect();
    matches!(&tokens[..], [cfg, TokenTree::Group(condition)]
        if is_word(cfg, "cfg") && requires_test(condition.stream()))
}

/// How many tokens the item, statement, field or variant has that the tokens begin with, together
/// with its attributes.
fn item_length(tokens: &[TokenTree]) -> usize {
    let mut at = 0;
    while attribute(&tokens[at..]).is_some() {
        at += 2;
    }
    let first = tokens.get(at).and_then(word);
    let is_item = first.is_some_and(|word| BEGINNINGS.contains(&word.as_str()));
    let is_end = |token: &TokenTree| match token {
        TokenTree::Group(group) => is_item && group.delimiter() == Delimiter::Brace,
        _ => is_punct(token, ';') || (!is_item && is_punct(token, ',')),
    };
    let rest = &tokens[at..];
    at + rest.iter().position(is_end).map_or(rest.len(), |end| end + 1)
}

/// The values of `path = "..."` in an attribute.
fn path_values(attribute: TokenStream, values: &mut Vec<String>) {
    let tokens: Vec<TokenTree> = attribute.into_iter().collect();
    for (i, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => path_values(group.stream(), values),
            TokenTree::Literal(value) if i > 1 && is_word(&tokens[i - 2], "path") => {
                values.push(value.to_string().trim_matches('"').to_string());
            }
            _ => {}
        }
    }
}
