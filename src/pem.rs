//! Certificates and lists of revoked ones, from files in PEM.

use std::path::Path;

use rustls_pki_types::pem::PemObject;

/// All of a kind that stand in a file, of which there is at least one. `what`: one of that kind, in words.
pub(crate) fn all<T: PemObject>(path: &Path, what: &str) -> Result<Vec<T>, String> {
    let shown = path.display();
    let all: Vec<T> = T::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| format!("cannot use {shown}: {error}"))?;
    if all.is_empty() { Err(format!("{shown} holds no {what}")) } else { Ok(all) }
}
