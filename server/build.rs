//! Lists the chat page's files, so that they become part of the program, and finds out which version and
//! commit it is. There are none of the page when it is not built.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

#[path = "../build/version.rs"]
mod version;

/// Where the build of the page leaves them, from this crate's folder.
const PAGE: &str = "../client-sdk/web/page/dist";

fn main() -> io::Result<()> {
    let page = Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join(PAGE);
    // What does not exist would have cargo build again each time, so its nearest folder that does is watched.
    let watched = page.ancestors().find(|path| path.exists()).unwrap_or(&page);
    println!("cargo::rerun-if-changed={}", watched.display());
    println!("cargo::rerun-if-changed=build.rs");
    version::tell(&["server", "protocol", "certs", "build", "Cargo.toml", "Cargo.lock"]);
    let mut files = Vec::new();
    if page.is_dir() {
        collect(&page, &mut files)?;
    }
    files.sort();
    let mut table =
        String::from("/// The page's files: the path of each from the page's root, and its bytes.\n");
    table.push_str("const FILES: &[(&str, &[u8])] = &[\n");
    for file in files {
        let name = file.strip_prefix(&page).map_err(io::Error::other)?.to_string_lossy().replace('\\', "/");
        let _infallible = writeln!(table, "({name:?}, include_bytes!({:?})),", file.display().to_string());
    }
    table.push_str("];\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("page.rs");
    fs::write(out, table)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() {
            collect(&path, files)?;
        } else if !is_hidden {
            files.push(path);
        }
    }
    Ok(())
}
