//! Which file uses a name of which other file: read from the syntax, without the compiler.
//!
//! Owns: the modules of a crate, what each defines and imports, and the arrows between files. An arrow is a
//! name of one file that the code of another one uses. `mod`, re-exports and tests make no arrow; whoever
//! uses a name through a re-export has an arrow to the file that defines it.
//!
//! It does not see methods that are called on a value: a type's methods lie with the type, or are a trait's.
//! Where a `macro_rules!` puts its arguments behind a path (`super::$variant`), each argument that a call in
//! the same file gives is a name behind that path.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use syn::visit::Visit;
use syn::{Attribute, Item, UseTree, Visibility};

/// A module path within a crate: no segments for its root.
type Module = Vec<String>;

/// What a name means in a module.
#[derive(Clone, Debug)]
enum Meaning {
    /// It is defined here.
    Defined,
    /// It is a module of its own.
    Module,
    /// It is imported from this path.
    Imported(Vec<String>),
}

#[derive(Default)]
struct Scope {
    file: PathBuf,
    names: HashMap<String, Meaning>,
    globs: Vec<Vec<String>>,
}

/// The modules of a crate.
#[derive(Default)]
pub(crate) struct Crate {
    scopes: HashMap<Module, Scope>,
    /// What each file's code names: the module that it stands in, and the path as written.
    used: Vec<(PathBuf, Module, Vec<String>)>,
}

/// Which files each file uses, and by which name first.
pub(crate) type Arrows = BTreeMap<String, BTreeMap<String, String>>;

impl Crate {
    /// Reads a crate from its root file.
    pub(crate) fn read(root: &Path) -> Self {
        let mut found = Crate::default();
        found.read_file(root, Vec::new(), root.parent().unwrap());
        found
    }

    /// How many modules were read.
    pub(crate) fn modules(&self) -> usize {
        self.scopes.len()
    }

    /// The arrows between its files, their paths as `name` gives them.
    pub(crate) fn arrows(&self, name: impl Fn(&Path) -> String) -> Arrows {
        let mut arrows = Arrows::new();
        for (file, module, path) in &self.used {
            let Some(defined) = self.resolve(module, path, 0) else { continue };
            if defined != *file {
                let from = arrows.entry(name(file)).or_default();
                from.entry(name(&defined)).or_insert_with(|| path.join("::"));
            }
        }
        arrows
    }

    fn read_file(&mut self, file: &Path, module: Module, folder: &Path) {
        let text =
            std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        self.read_items(&parsed.items, file, module, folder);
    }

    fn read_items(&mut self, items: &[Item], file: &Path, module: Module, folder: &Path) {
        let mut scope = Scope { file: file.to_owned(), ..Scope::default() };
        let mut paths = Paths::default();
        for item in items.iter().filter(|item| !is_test(attributes(item))) {
            match item {
                Item::Use(use_) => {
                    let mut imports = Vec::new();
                    flatten(&use_.tree, Vec::new(), &mut imports);
                    for (name, path) in imports {
                        // A re-export is nobody's use of the name.
                        if matches!(use_.vis, Visibility::Inherited) {
                            paths.found.insert(path.clone());
                        }
                        match name {
                            Some(name) => drop(scope.names.insert(name, Meaning::Imported(path))),
                            None => scope.globs.push(path),
                        }
                    }
                }
                Item::Mod(inner) => {
                    let name = inner.ident.to_string();
                    scope.names.insert(name.clone(), Meaning::Module);
                    let below = [module.as_slice(), std::slice::from_ref(&name)].concat();
                    match &inner.content {
                        Some((_, items)) => {
                            self.read_items(items, file, below, &folder.join(&name));
                        }
                        None => self.read_module(inner, below, folder),
                    }
                }
                item => {
                    if let Some(name) = defines(item) {
                        scope.names.insert(name, Meaning::Defined);
                    }
                    if let Item::Macro(rules) = item {
                        paths.learn(rules);
                    }
                    paths.visit_item(item);
                }
            }
        }
        let used = paths.found.into_iter().map(|path| (file.to_owned(), module.clone(), path));
        self.used.extend(used);
        self.scopes.insert(module, scope);
    }

    fn read_module(&mut self, item: &syn::ItemMod, module: Module, folder: &Path) {
        let name = item.ident.to_string();
        let file = match path_of(&item.attrs) {
            Some(path) => folder.join(path),
            None if folder.join(&name).join("mod.rs").exists() => folder.join(&name).join("mod.rs"),
            None => folder.join(format!("{name}.rs")),
        };
        self.read_file(&file, module, &folder.join(&name));
    }

    /// The file that defines what a path names; `None` for what is not of this crate.
    fn resolve(&self, module: &[String], path: &[String], depth: usize) -> Option<PathBuf> {
        if depth > 16 {
            return None;
        }
        let (mut at, mut rest) = (module.to_vec(), path);
        loop {
            let (first, behind) = rest.split_first()?;
            match first.as_str() {
                "crate" | "$crate" => at = Vec::new(),
                "self" => {}
                "super" => drop(at.pop()?),
                name => {
                    let scope = self.scopes.get(&at)?;
                    match scope.names.get(name) {
                        Some(Meaning::Defined) => return Some(scope.file.clone()),
                        Some(Meaning::Module) => at.push(name.to_owned()),
                        Some(Meaning::Imported(target)) => {
                            let whole = [target.as_slice(), behind].concat();
                            return self.resolve(&at, &whole, depth + 1);
                        }
                        None => return self.in_globs(scope, &at, rest, depth),
                    }
                }
            }
            rest = behind;
        }
    }

    fn in_globs(
        &self,
        scope: &Scope,
        at: &[String],
        rest: &[String],
        depth: usize,
    ) -> Option<PathBuf> {
        scope
            .globs
            .iter()
            .find_map(|glob| self.resolve(at, &[glob.as_slice(), rest].concat(), depth + 1))
    }
}

/// The paths that code names.
#[derive(Default)]
struct Paths {
    found: BTreeSet<Vec<String>>,
    /// Of each macro of the file, the paths behind which it puts an argument.
    prefixes: HashMap<String, BTreeSet<Vec<String>>>,
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path.segments.iter().map(|segment| segment.ident.to_string());
        self.found.insert(segments.collect());
        syn::visit::visit_path(self, path);
    }

    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test(attributes(item)) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, use_: &'ast syn::ItemUse) {
        let mut imports = Vec::new();
        flatten(&use_.tree, Vec::new(), &mut imports);
        self.found.extend(imports.into_iter().map(|(_, path)| path));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_test(&item.attrs) {
            syn::visit::visit_impl_item_fn(self, item);
        }
    }

    /// What a macro is given is no syntax yet: names and what joins them.
    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        self.visit_path(&called.path);
        let name = called.path.get_ident().map(ToString::to_string).unwrap_or_default();
        let mut given = Paths::default();
        given.in_tokens(called.tokens.clone());
        for prefix in self.prefixes.get(&name).into_iter().flatten() {
            let behind = given.found.iter().map(|path| [prefix.as_slice(), path].concat());
            self.found.extend(behind);
        }
        self.found.extend(given.found);
    }
}

impl Paths {
    /// What a `macro_rules!` makes of its arguments.
    fn learn(&mut self, rules: &syn::ItemMacro) {
        let Some(name) = &rules.ident else { return };
        let prefixes = self.prefixes.entry(name.to_string()).or_default();
        before_arguments(rules.mac.tokens.clone(), prefixes);
    }

    fn in_tokens(&mut self, tokens: proc_macro2::TokenStream) {
        use proc_macro2::TokenTree;
        let (mut path, mut colons) = (Vec::<String>::new(), 0);
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if colons != 2 {
                        self.take(&mut path);
                    }
                    path.push(name.to_string());
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.take(&mut path);
                    self.in_tokens(group.stream());
                    colons = 0;
                }
                _ => {
                    self.take(&mut path);
                    colons = 0;
                }
            }
        }
        self.take(&mut path);
    }

    fn take(&mut self, path: &mut Vec<String>) {
        if !path.is_empty() {
            self.found.insert(std::mem::take(path));
        }
    }
}

/// The paths that stand before an argument of a macro: `super` of `super::$variant`.
fn before_arguments(tokens: proc_macro2::TokenStream, prefixes: &mut BTreeSet<Vec<String>>) {
    use proc_macro2::TokenTree;
    let (mut path, mut colons) = (Vec::<String>::new(), 0);
    for token in tokens {
        match token {
            TokenTree::Ident(name) if colons == 2 => {
                path.push(name.to_string());
                colons = 0;
            }
            TokenTree::Ident(name) => {
                path = vec![name.to_string()];
                colons = 0;
            }
            TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
            TokenTree::Punct(mark) if mark.as_char() == '$' && colons == 2 => {
                prefixes.insert(std::mem::take(&mut path));
                colons = 0;
            }
            TokenTree::Group(group) => {
                before_arguments(group.stream(), prefixes);
                (path, colons) = (Vec::new(), 0);
            }
            _ => (path, colons) = (Vec::new(), 0),
        }
    }
    prefixes.remove(&Vec::new());
}

fn flatten(tree: &UseTree, before: Vec<String>, imports: &mut Vec<(Option<String>, Vec<String>)>) {
    let with = |name: String| [before.clone(), vec![name]].concat();
    match tree {
        UseTree::Path(path) => flatten(&path.tree, with(path.ident.to_string()), imports),
        UseTree::Name(name) if name.ident == "self" => {
            imports.push((before.last().cloned(), before.clone()));
        }
        UseTree::Name(name) => {
            imports.push((Some(name.ident.to_string()), with(name.ident.to_string())));
        }
        UseTree::Rename(as_) => {
            imports.push((Some(as_.rename.to_string()), with(as_.ident.to_string())));
        }
        UseTree::Glob(_) => imports.push((None, before)),
        UseTree::Group(group) => {
            group.items.iter().for_each(|tree| flatten(tree, before.clone(), imports));
        }
    }
}

fn defines(item: &Item) -> Option<String> {
    Some(match item {
        Item::Const(item) => item.ident.to_string(),
        Item::Enum(item) => item.ident.to_string(),
        Item::Fn(item) => item.sig.ident.to_string(),
        Item::Macro(item) => item.ident.as_ref()?.to_string(),
        Item::Static(item) => item.ident.to_string(),
        Item::Struct(item) => item.ident.to_string(),
        Item::Trait(item) => item.ident.to_string(),
        Item::Type(item) => item.ident.to_string(),
        _ => return None,
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether an item is there in tests alone.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let test = attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"));
        test || attribute.path().is_ident("test")
    })
}

/// Where `#[path = "…"]` says that a module lies.
fn path_of(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        syn::Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            syn::Expr::Lit(literal) => match &literal.lit {
                syn::Lit::Str(path) => Some(path.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    })
}
