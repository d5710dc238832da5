//! Follows each import to the file that defines the item.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::source::{Module, read};

type Modules = BTreeMap<Vec<String>, Module>;

/// Adds the module `path`, which is in `file`, and all modules that it declares.
fn collect(source: &Path, file: &str, path: &[String], modules: &mut Modules) {
    let text = fs::read_to_string(source.join(file)).unwrap();
    let mut module = read(&text);
    module.file = file.to_owned();
    let folder = match file.strip_suffix("mod.rs").or(file.strip_suffix("lib.rs")) {
        Some(folder) => folder.to_owned(),
        None => file.replace(".rs", "/"),
    };
    module.children.retain(|child| {
        let beside = format!("{folder}{child}.rs");
        let inside = format!("{folder}{child}/mod.rs");
        let Some(file) = [beside, inside]
            .into_iter()
            .find(|file| source.join(file).exists())
        else {
            return false; // the models, which are outside of `src`
        };
        collect(
            source,
            &file,
            &[path, std::slice::from_ref(child)].concat(),
            modules,
        );
        true
    });
    modules.insert(path.to_vec(), module);
}

/// The file that defines what `path` names in the module `from`; `None` for another crate's.
fn definition<'m>(
    modules: &'m Modules,
    from: &[String],
    path: &[String],
    depth: usize,
) -> Option<&'m str> {
    if depth > 20 {
        return None;
    }
    let mut place = from.to_vec();
    let mut begun = false;
    for (at, segment) in path.iter().enumerate() {
        let module = &modules[&place];
        match segment.as_str() {
            "crate" => place.clear(),
            "self" => {}
            "super" => {
                place.pop()?;
            }
            child if module.children.contains(child) => place.push(child.to_owned()),
            name => {
                let rest = &path[at + 1..];
                for (alias, target) in &module.names {
                    if alias == name && target != path {
                        let target = [target.as_slice(), rest].concat();
                        if let Some(file) = definition(modules, &place, &target, depth + 1) {
                            return Some(file);
                        }
                    }
                }
                // Without a prefix it is a name of another crate or a local one.
                return begun.then_some(module.file.as_str());
            }
        }
        begun = true;
    }
    Some(&modules[&place].file)
}

/// The files that each file imports from.
pub(crate) fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let mut modules = Modules::new();
    collect(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        "lib.rs",
        &[],
        &mut modules,
    );
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (place, module) in &modules {
        let found = module
            .imports
            .iter()
            .filter_map(|path| definition(&modules, place, path, 0));
        let found = found.filter(|&file| file != module.file).map(str::to_owned);
        imports
            .entry(module.file.clone())
            .or_default()
            .extend(found);
    }
    assert!(
        imports.len() > 80,
        "only {} files of `src` were found",
        imports.len()
    );
    imports
}
