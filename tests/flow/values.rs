//! What is on a `dir:` cluster.

use harness::fleet::Fleet;

/// The value of an app's ConfigMap on a cluster; none where it is not.
pub fn value(fleet: &Fleet, cluster: &str, app: &str) -> Option<String> {
    let files = fleet.files(cluster).ok()?;
    let text = files.get(&format!("configmap--{app}--{app}.yaml"))?;
    let value = text.lines().find_map(|line| line.trim().strip_prefix("value: "))?;
    Some(value.trim_matches(['"', '\'']).to_owned())
}
