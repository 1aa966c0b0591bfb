//! The files of `src` import each other in one direction: no circles, and no import against the order of the modules.
//!
//! Paths inside of macro bodies are not read.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use syn::{
    Attribute, Item, UseTree, Visibility,
    visit::{self, Visit},
};

/// The order of the top-level modules. A module imports only modules before it.
const MODULES: &[&str] = &[
    "panic",
    "shard",
    "rate_limit",
    "sync",
    "error",
    "store_future",
    "clock",
    "expiry",
    "token",
    "loopback",
    "json",
    "login",
    "telemetry",
    "jwt",
    "refresh",
    "keyed",
    "authorize",
    "sources",
    "reqwest_client",
    "http_client",
    "transport",
    "oauth2",
    "shared",
    "arthur",
    "test_util",
    "guides",
];

/// The order of the files within a folder. A file imports only files before it.
const FILES: &[(&str, &[&str])] = &[
    (
        "refresh",
        &[
            "schedule",
            "login_line",
            "login_permits",
            "sharded_header",
            "cached_token",
            "status",
            "state",
            "current",
            "token_id",
            "registry",
            "settings",
            "core",
            "shared",
            "clock_task",
            "worker",
            "wait",
            "status_receiver",
            "handle",
            "weak",
            "builder",
            "loom_models",
        ],
    ),
    (
        "refresh::state",
        &[
            "active_worker",
            "actions",
            "token",
            "login",
            "usage",
            "refresh_state",
            "caller_events",
            "worker_events",
            "view",
        ],
    ),
    ("keyed", &["entry", "cache", "error", "creations", "shared", "handle", "builder"]),
    (
        "authorize",
        &[
            "origin",
            "destination",
            "error",
            "classify",
            "extensions",
            "replay",
            "header_config",
            "config",
            "header_cache",
            "sharded_arc",
            "identity",
            "keyed_identity",
            "service_context",
            "in_flight",
            "slow_path",
            "future",
            "service",
            "layer",
            "keyed_layer",
            "grpc",
            "tonic_status",
            "loom_models",
        ],
    ),
    (
        "authorize::replay",
        &[
            "saved_request",
            "policy",
            "recording",
            "replay_state",
            "replay_buffer",
            "buffered_body",
            "buffered",
            "map_body",
            "with",
        ],
    ),
    (
        "oauth2::native_app",
        &[
            "error_kind",
            "time_limit",
            "endpoints",
            "tokens",
            "client",
            "secrets",
            "redirect_uri",
            "redirect",
            "page",
            "listener",
            "authorization_request",
            "authorization_code_login",
            "device_response",
            "poll_interval",
            "device_authorization",
            "device_login",
        ],
    ),
    (
        "shared",
        &[
            "store",
            "identity",
            "seal",
            "revision",
            "aged_token",
            "failure",
            "payload",
            "history",
            "spread",
            "waits",
            "sealed_store",
            "settings",
            "process_state",
            "other_process",
            "examine",
            "leader",
            "attempt",
            "without_store",
            "service",
            "layer",
            "file",
            "redis",
            "refresh_token_store",
        ],
    ),
    ("shared::redis", &["connection", "scripts", "reply", "store"]),
    ("shared::refresh_token_store", &["content", "record", "lock_state", "lock", "store"]),
    ("shared::file", &["error", "format", "claim", "directory", "store"]),
    ("reqwest_client", &["body", "future", "service", "redirect", "send", "middleware"]),
    (
        "sources",
        &[
            "parse",
            "static_token",
            "env",
            "single_flight",
            "file_reader",
            "file_watch",
            "file",
            "command_format",
            "command",
        ],
    ),
    (
        "transport",
        &[
            "http_service",
            "redact",
            "redacted_error",
            "server_time",
            "redirect",
            "error_kind",
            "error",
            "config",
            "exchange",
            "future",
            "secure_url",
        ],
    ),
    ("test_util", &["check_token_store", "in_memory_token_store"]),
    (
        "test_util::check_token_store",
        &["violation", "process", "records", "claims", "puts", "concurrency"],
    ),
];

type ModulePath = Vec<String>;

/// What one file defines, re-exports and names.
#[derive(Default)]
struct File {
    defined: BTreeSet<String>,
    /// Name to path.
    reexports: BTreeMap<String, ModulePath>,
    glob_reexports: Vec<ModulePath>,
    paths: BTreeSet<ModulePath>,
    /// Paths that start with a name of this file, as if it were a module.
    relative_paths: BTreeSet<ModulePath>,
}

fn is_test_only(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let is_cfg = attribute.path().is_ident("cfg");
        let text =
            attribute.meta.require_list().map(|list| list.tokens.to_string()).unwrap_or_default();
        is_cfg
            && (text == "test"
                || text.starts_with("all (test")
                || text.starts_with("all(test")
                || text == "doctest")
    })
}

struct Paths<'a> {
    module: &'a [String],
    file: File,
}

impl Paths<'_> {
    /// Makes a path absolute, if it starts with `crate`, `super` or `self`.
    fn absolute(&self, path: &[String]) -> Option<ModulePath> {
        let mut base = match path.first()?.as_str() {
            "crate" => Vec::new(),
            "self" | "super" => self.module.to_vec(),
            _ => return None,
        };
        let mut rest = path;
        while let Some((first, tail)) = rest.split_first() {
            match first.as_str() {
                "crate" | "self" => {}
                "super" => {
                    base.pop();
                }
                _ => break,
            }
            rest = tail;
        }
        base.extend(rest.iter().cloned());
        Some(base)
    }

    fn add_use(&mut self, prefix: &[String], tree: &UseTree, exported: bool) {
        let join = |name: String| [prefix, &[name]].concat();
        match tree {
            UseTree::Path(path) => {
                self.add_use(&join(path.ident.to_string()), &path.tree, exported)
            }
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.add_use(prefix, tree, exported))
            }
            UseTree::Name(name) if name.ident == "self" => {
                self.add_path(prefix, prefix.last(), exported)
            }
            UseTree::Name(name) => self.add_path(
                &join(name.ident.to_string()),
                Some(&name.ident.to_string()),
                exported,
            ),
            UseTree::Rename(name) => {
                self.add_path(
                    &join(name.ident.to_string()),
                    Some(&name.rename.to_string()),
                    exported,
                );
            }
            UseTree::Glob(_) => {
                if let Some(path) = self.absolute(prefix) {
                    if exported {
                        self.file.glob_reexports.push(path);
                    } else {
                        self.file.paths.insert(path);
                    }
                }
            }
        }
    }

    fn add_path(&mut self, path: &[String], name: Option<&String>, exported: bool) {
        // A path of a re-export can be relative to a module that the file declares.
        let absolute =
            self.absolute(path).or_else(|| exported.then(|| [self.module, path].concat()));
        let Some(absolute) = absolute else { return };
        if let Some(name) = name.filter(|_| exported) {
            self.file.reexports.insert(name.clone(), absolute);
        } else {
            self.file.paths.insert(absolute);
        }
    }
}

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let (name, attributes) = match item {
            Item::Const(item) => (Some(&item.ident), &item.attrs),
            Item::Enum(item) => (Some(&item.ident), &item.attrs),
            Item::Fn(item) => (Some(&item.sig.ident), &item.attrs),
            Item::Macro(item) => (item.ident.as_ref(), &item.attrs),
            Item::Static(item) => (Some(&item.ident), &item.attrs),
            Item::Struct(item) => (Some(&item.ident), &item.attrs),
            Item::Trait(item) => (Some(&item.ident), &item.attrs),
            Item::Type(item) => (Some(&item.ident), &item.attrs),
            Item::Impl(item) => (None, &item.attrs),
            Item::Mod(item) => (None, &item.attrs),
            Item::Use(item) => (None, &item.attrs),
            _ => return visit::visit_item(self, item),
        };
        if is_test_only(attributes) {
            return;
        }
        self.file.defined.extend(name.map(ToString::to_string));
        if let Item::Use(item) = item {
            let exported = !matches!(item.vis, Visibility::Inherited);
            self.add_use(&[], &item.tree, exported);
        }
        visit::visit_item(self, item);
    }

    /// `pub(super)` names no item.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<_> =
            path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if let Some(path) = self.absolute(&segments) {
            self.file.paths.insert(path);
        } else if segments.len() > 1 {
            // The first segment may be a module that this file declares.
            self.file.relative_paths.insert([self.module, &segments].concat());
        }
        visit::visit_path(self, path);
    }
}

struct Crate(BTreeMap<ModulePath, File>);

impl Crate {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = BTreeMap::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let module = module(&root, &path);
                    let syntax = syn::parse_file(&fs::read_to_string(&path).unwrap()).unwrap();
                    let mut paths = Paths { module: &module, file: File::default() };
                    paths.visit_file(&syntax);
                    let file = paths.file;
                    files.insert(module, file);
                }
            }
        }
        Self(files)
    }

    /// Returns the file that defines what a path names, and follows re-exports.
    fn resolve(&self, path: &[String], depth: usize) -> Option<&ModulePath> {
        assert!(depth < 16, "re-exports of {path:?} form a circle");
        let (module, rest) = (0..=path.len()).rev().find_map(|length| {
            let (module, rest) = path.split_at(length);
            self.0.get_key_value(module).map(|(module, _)| (module, rest))
        })?;
        let Some(name) = rest.first() else { return Some(module) };
        let file = &self.0[module];
        if file.defined.contains(name) {
            return Some(module);
        }
        if let Some(target) = file.reexports.get(name) {
            return self.resolve(&[target, &rest[1..]].concat(), depth + 1);
        }
        let in_glob = |target: &ModulePath| self.resolve(&[target, rest].concat(), depth + 1);
        Some(file.glob_reexports.iter().find_map(in_glob).unwrap_or(module))
    }

    fn edges(&self) -> BTreeMap<&ModulePath, BTreeSet<&ModulePath>> {
        let edges = |module: &ModulePath, file: &File| {
            let is_child = |path: &&ModulePath| self.0.contains_key(&path[..=module.len()]);
            let relative = file.relative_paths.iter().filter(is_child);
            let targets =
                file.paths.iter().chain(relative).filter_map(|path| self.resolve(path, 0));
            targets.filter(|target| *target != module && !target.is_empty()).collect()
        };
        self.0.iter().map(|(module, file)| (module, edges(module, file))).collect()
    }
}

fn module(root: &Path, path: &Path) -> ModulePath {
    let relative: PathBuf = path.strip_prefix(root).unwrap().with_extension("");
    let mut module: Vec<_> =
        relative.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if matches!(module.last().map(String::as_str), Some("mod" | "lib")) {
        module.pop();
    }
    module
}

#[test]
fn files_form_no_circle() {
    let files = Crate::read();
    let mut edges = files.edges();
    // Files that import nothing any more are removed, until only circles and what leads to them are left.
    loop {
        let leaves: Vec<_> =
            edges.iter().filter(|(_, targets)| targets.is_empty()).map(|(file, _)| *file).collect();
        if leaves.is_empty() {
            break;
        }
        for leaf in leaves {
            edges.remove(leaf);
            for targets in edges.values_mut() {
                targets.remove(leaf);
            }
        }
    }
    // What only leads to a circle is removed too.
    loop {
        let imported: BTreeSet<_> = edges.values().flatten().copied().collect();
        let before = edges.len();
        edges.retain(|file, _| imported.contains(file));
        if edges.len() == before {
            break;
        }
    }
    let show = |path: &ModulePath| path.join("::");
    let circles: Vec<_> = edges
        .iter()
        .flat_map(|(file, targets)| {
            targets.iter().map(move |target| format!("{} -> {}", show(file), show(target)))
        })
        .collect();
    assert!(circles.is_empty(), "files import each other in a circle:\n{}", circles.join("\n"));
}

#[test]
fn imports_follow_the_order_of_the_modules() {
    let files = Crate::read();
    let mut violations = Vec::new();
    let mut check = |folder: &[String], order: &[&str]| {
        let rank = |name: &str| order.iter().position(|module| *module == name);
        for (file, targets) in files.edges() {
            let Some(from) = file.strip_prefix(folder).and_then(<[_]>::first) else { continue };
            let Some(from_rank) = rank(from) else {
                violations.push(format!("{} is not in the order", file.join("::")));
                continue;
            };
            for target in targets {
                let to = target.strip_prefix(folder).and_then(<[_]>::first);
                if to.is_some_and(|to| rank(to).is_none_or(|to| to > from_rank)) {
                    violations.push(format!("{} -> {}", file.join("::"), target.join("::")));
                }
            }
        }
    };
    check(&[], MODULES);
    for (folder, order) in FILES {
        check(&folder.split("::").map(str::to_owned).collect::<Vec<_>>(), order);
    }
    assert!(violations.is_empty(), "imports against the order:\n{}", violations.join("\n"));
}
