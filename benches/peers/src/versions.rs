//! The versions that were built, from the lock file.

const LOCK: &str = include_str!("../Cargo.lock");

/// The version of a package; of several the newest, which stands last, as peers are asked for in their newest version.
pub fn of(package: &str) -> &'static str {
    let name = format!("name = \"{package}\"");
    let mut lines = LOCK.lines();
    let mut version = None;
    while lines.any(|line| line == name) {
        version = lines.next();
    }
    version
        .and_then(|line| line.strip_prefix("version = \"")?.strip_suffix('"'))
        .unwrap_or_else(|| panic!("{package} is not in the lock file"))
}
