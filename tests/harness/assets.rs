//! Where that is which tests use and this workspace does not build: Kubernetes, etcd, kubectl, helm; charts of others.
//!
//! In: the environment. Out: paths. Nothing is fetched or built here; `tests/setup/` does that, before.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// What a cluster that runs workloads needs. All come from one place, so that their versions fit each other.
const WHOLE_CLUSTER: [&str; 5] =
    ["kube-apiserver", "etcd", "kube-controller-manager", "kube-scheduler", "kubemark"];

/// What a cluster that only answers API calls needs.
const API_ONLY: [&str; 2] = ["kube-apiserver", "etcd"];

/// The directory with the binaries of a cluster: `KUBEBUILDER_ASSETS` where it holds what is needed, else the cache.
///
/// # Errors
/// When a binary is missing, with the name of the script that provides it.
pub fn cluster_binaries(workloads: bool) -> Result<PathBuf> {
    let needed: &[&str] = if workloads { &WHOLE_CLUSTER } else { &API_ONLY };
    let complete = |directory: &Path| needed.iter().all(|name| directory.join(name).is_file());

    if let Some(assets) = env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from)
        && complete(&assets)
    {
        return Ok(assets);
    }
    let cached = cached_binaries();
    if !complete(&cached) {
        bail!(
            "{} lacks one of {needed:?}: run tests/setup/kubernetes and tests/setup/etcd",
            cached.display()
        );
    }
    Ok(cached)
}

/// The path of a single binary, as `kubectl` or `helm`: the one in the cache, else the first of the search path.
///
/// # Errors
/// When there is none.
pub fn binary(name: &str) -> Result<PathBuf> {
    let search_path = env::var_os("PATH").unwrap_or_default();
    std::iter::once(cached_binaries())
        .chain(env::split_paths(&search_path))
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| anyhow::anyhow!("there is no {name}: run the scripts in tests/setup/"))
}

/// The directory with charts and manifests out of a package that others publish, as `redis-commander-0.9.0`.
///
/// # Errors
/// When it is not there, with the name of the script that provides it.
pub fn published(package: &str) -> Result<PathBuf> {
    let directory = cache().join("charts").join(package);
    if !directory.is_dir() {
        bail!("there is no {}: run tests/setup/charts", directory.display());
    }
    Ok(directory)
}

/// Its `bin/`.
fn cached_binaries() -> PathBuf {
    cache().join("bin")
}

/// The cache that `tests/setup/cache.sh` describes.
fn cache() -> PathBuf {
    env::var_os("NAVE_TEST_CACHE").map(PathBuf::from).unwrap_or_else(|| {
        let of_user = env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .unwrap_or_else(|| PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cache"));
        of_user.join("nave-tests")
    })
}
