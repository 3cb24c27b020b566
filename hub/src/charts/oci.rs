//! OCI: charts of a registry, by the distribution API.
//!
//! In: a chart. Out: the archive of the version that is meant, which is a layer of an image. A version is a tag, with `_` for the `+` that none
//! can have. Never: asks for more than to read one chart; shows a token to another host than its registry.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>

use nave_placement::Digest;
use nave_placement::catalog::{BadChartName, ChartName};
use reqwest::header::{HeaderValue, LINK};
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::asking::{self, Answer, Asking, Question};
use super::challenge::{self, Challenge};
use super::error::{ChartError, shown};
use super::{At, MOST_BYTES, Offer};
use crate::git::Access;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CHART: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
/// Most bytes of a manifest, as registries have it, and of a page of tags.
const MOST_TEXT: u64 = 4 << 20;
/// Most bytes of what holds a token.
const MOST_TOKEN: u64 = 256 << 10;
/// Most pages of tags: of 1000 each, more than anybody releases.
const MOST_PAGES: usize = 100;
/// Where Docker Hub's images are, by the name that people know it by.
const DOCKER: (&str, &str) = ("docker.io", "registry-1.docker.io");
/// Where it gives out its tokens.
const DOCKER_AUTH: &str = "https://auth.docker.io";

/// A chart's place in a registry, and what was got to read it.
pub(super) struct Registry<'a> {
    /// The registry.
    base: Url,
    /// The chart's whole path there.
    path: String,
    access: Option<&'a Access>,
    authorization: Option<HeaderValue>,
    asked: bool,
}

/// A part of an image.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Layer {
    media_type: String,
    digest: String,
    size: u64,
}

/// What the registry has of a chart.
pub(super) async fn offer<'a>(asking: &Asking<'a>, chart: &ChartName) -> Result<Offer<'a>, ChartError> {
    let place = format!("{}/{}", chart.repository.trim_end_matches('/'), chart.chart);
    let mut registry = Registry::at(asking, &place).ok_or_else(|| bad(chart))?;
    if chart.version.exact().is_some() {
        // As it was written: a tag may begin with v.
        let version = chart.version.as_str().trim_start_matches('=').trim().to_owned();
        return registry.tagged(asking, version).await;
    }
    let versions = registry.versions(asking).await?;
    let version = super::meant(chart, &versions)?.to_owned();
    registry.tagged(asking, version).await
}

/// What a Helm repository names by `oci://HOST/PATH:TAG`.
pub(super) async fn linked<'a>(
    asking: &Asking<'a>,
    chart: &ChartName,
    url: &str,
    version: String,
) -> Result<Offer<'a>, ChartError> {
    let wrong = || ChartError::Unreadable {
        url: chart.repository.to_string(),
        why: format!("{url:?}, of version {version}, is no place in a registry"),
    };
    // A colon before the last slash is that of a port.
    let (place, tag) = url.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).unwrap_or((url, &version));
    let registry = Registry::at(asking, place).ok_or_else(wrong)?;
    let tag = tag.replace('_', "+");
    let offer = registry.tagged(asking, tag).await?;
    Ok(Offer { version, ..offer })
}

fn bad(chart: &ChartName) -> ChartError {
    BadChartName::Repository(chart.repository.clone()).into()
}

impl<'a> Registry<'a> {
    /// By `oci://HOST/PATH`.
    fn at(asking: &Asking<'a>, place: &str) -> Option<Self> {
        let (host, path) = place.strip_prefix("oci://")?.split_once('/')?;
        let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
        let path = names.join("/");
        let access = asking.access(&format!("oci://{host}/{path}"));
        let host = if host == DOCKER.0 { DOCKER.1 } else { host };
        let base: Url = format!("https://{host}/").parse().ok()?;
        let leads_elsewhere =
            path.contains(['?', '#', '%', '\\']) || names.iter().any(|name| matches!(*name, "." | ".."));
        (!path.is_empty() && !leads_elsewhere).then_some(Self {
            base,
            path,
            access,
            authorization: None,
            asked: false,
        })
    }

    /// The archive of a version.
    async fn tagged(mut self, asking: &Asking<'a>, version: String) -> Result<Offer<'a>, ChartError> {
        let tag = version.replace('+', "_");
        let legal = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if !tag.chars().all(legal) {
            let why = format!("{tag:?} cannot be a tag");
            return Err(ChartError::Unreadable { url: shown(&self.base), why });
        }
        let url = self.url(&format!("manifests/{tag}"))?;
        let answer = self.get(asking, url.clone(), MANIFEST, MOST_TEXT).await?;
        #[derive(Deserialize)]
        struct Manifest {
            #[serde(default)]
            layers: Vec<Layer>,
        }
        let body = answer.whole()?.body;
        let wrong = |why: String| ChartError::Unreadable { url: shown(&url), why };
        let manifest: Manifest =
            serde_json::from_slice(&body).map_err(|_| wrong("it is no manifest".into()))?;
        let layer = manifest.layers.into_iter().find(|layer| layer.media_type == CHART);
        let layer = layer
            .ok_or_else(|| wrong("it is no chart: it has no layer of the type of Helm's archives".into()))?;
        if layer.size > MOST_BYTES {
            return Err(ChartError::TooLarge { url: shown(&url), most: MOST_BYTES });
        }
        let digest: Option<Digest> =
            layer.digest.strip_prefix("sha256:").and_then(|digest| digest.parse().ok());
        let digest = digest.ok_or_else(|| wrong(format!("{:?} is no SHA-256 digest", layer.digest)))?;
        Ok(Offer { version, digest: Some(digest), at: At::Blob(self, layer) })
    }

    /// An archive.
    pub async fn blob(&mut self, asking: &Asking<'a>, layer: &Layer) -> Result<Vec<u8>, ChartError> {
        let url = self.url(&format!("blobs/{}", layer.digest))?;
        Ok(self.get(asking, url, "*/*", MOST_BYTES).await?.whole()?.body)
    }

    /// All tags, as versions, page after page.
    async fn versions(&mut self, asking: &Asking<'a>) -> Result<Vec<String>, ChartError> {
        #[derive(Deserialize)]
        struct Page {
            tags: Option<Vec<String>>,
        }
        let first = self.url("tags/list?n=1000")?;
        let (mut url, mut versions) = (first.clone(), Vec::new());
        for _ in 0..MOST_PAGES {
            let answer = self.get(asking, url.clone(), "application/json", MOST_TEXT).await?.whole()?;
            let wrong = |why: String| ChartError::Unreadable { url: shown(&url), why };
            let page: Page =
                serde_json::from_slice(&answer.body).map_err(|_| wrong("it is no list of tags".into()))?;
            versions.extend(page.tags.unwrap_or_default().into_iter().map(|tag| tag.replace('_', "+")));
            let Some(link) = next(&answer) else { return Ok(versions) };
            let following = url.join(&link).ok().filter(|link| link.origin() == self.base.origin());
            let following =
                following.ok_or_else(|| wrong(format!("its next page is {link:?}, not of this registry")));
            url = following?;
        }
        let why = format!("it has more than {MOST_PAGES} pages of tags; name one version");
        Err(ChartError::Unreadable { url: shown(&first), why })
    }

    fn url(&self, rest: &str) -> Result<Url, ChartError> {
        let path = format!("v2/{}/{rest}", self.path);
        let why = "it is no place in a registry";
        self.base.join(&path).map_err(|_| ChartError::Forbidden { url: shown(&self.base), why })
    }

    /// Asks; where the registry wants to know who asks, once more.
    async fn get(
        &mut self,
        asking: &Asking<'a>,
        url: Url,
        accept: &'static str,
        most: u64,
    ) -> Result<Answer, ChartError> {
        let question = |authorization| Question {
            url: url.clone(),
            access: self.access,
            authorization,
            mark: None,
            accept,
            most,
        };
        let answer = asking.get(question(self.authorization.clone())).await?;
        let is_own = answer.url.origin() == self.base.origin();
        if answer.status != StatusCode::UNAUTHORIZED || self.asked || !is_own {
            return Ok(answer);
        }
        let shown = self.login(asking, answer).await?;
        let answer = asking.get(question(Some(shown.clone()))).await?;
        (self.authorization, self.asked) = (Some(shown), true);
        Ok(answer)
    }

    /// What the registry wants to be shown.
    async fn login(&self, asking: &Asking<'a>, answer: Answer) -> Result<HeaderValue, ChartError> {
        let refused = || ChartError::AuthRefused { url: shown(&answer.url) };
        match challenge::wanted(&answer.headers).ok_or_else(refused)? {
            Challenge::Basic => asking::basic(self.access).await?.ok_or_else(refused),
            Challenge::Bearer { realm, service } => self.token(asking, &realm, service).await,
        }
    }

    /// A token that reads this chart alone.
    async fn token(
        &self,
        asking: &Asking<'a>,
        realm: &str,
        service: Option<String>,
    ) -> Result<HeaderValue, ChartError> {
        let wrong = |why: String| ChartError::Unreadable { url: shown(&self.base), why };
        let mut url: Url =
            realm.parse().map_err(|_| wrong(format!("it gives out tokens at {realm:?}, which is no URL")))?;
        if url.scheme() != "https" {
            let why = "it gives out a registry's tokens, and is not encrypted";
            return Err(ChartError::Forbidden { url: shown(&url), why });
        }
        // Only a registry that somebody configured gets a token for what is shown elsewhere: any other could name a place whose
        // login is known here, and read there what it wants.
        let (access, shows) = match self.is_its_own(&url) {
            true => (self.access, self.access),
            false => {
                let access = asking.access(url.as_str());
                (access, access.filter(|_| self.access.is_some_and(|own| own.basic().is_some())))
            }
        };
        let authorization = asking::basic(shows).await?;
        let scope = format!("repository:{}:pull", self.path);
        url.set_query(None);
        url.query_pairs_mut()
            .extend_pairs(service.map(|service| ("service", service)))
            .append_pair("scope", &scope);
        let question =
            Question { url, access, authorization, mark: None, accept: "application/json", most: MOST_TOKEN };
        let answer = asking.get(question).await?.whole()?;
        #[derive(Deserialize)]
        struct Issued {
            token: Option<Zeroizing<String>>,
            access_token: Option<Zeroizing<String>>,
        }
        let unread = |why: String| ChartError::Unreadable { url: shown(&answer.url), why };
        let body = Zeroizing::new(answer.body.clone());
        // What cannot be read may be a secret: it is not repeated.
        let issued: Issued = serde_json::from_slice(&body).map_err(|_| unread("it gives no token".into()))?;
        let token = issued.token.or(issued.access_token).ok_or_else(|| unread("it gives no token".into()))?;
        asking::secret_header("Bearer", &token).map_err(|_| unread("its token cannot be sent".into()))
    }

    /// Whether a place that gives out tokens is the registry's own.
    fn is_its_own(&self, realm: &Url) -> bool {
        let is_docker =
            self.base.host_str() == Some(DOCKER.1) && realm.origin().ascii_serialization() == DOCKER_AUTH;
        realm.origin() == self.base.origin() || is_docker
    }
}

/// The next page, of `Link: <URL>; rel="next"`.
fn next(answer: &Answer) -> Option<String> {
    let links = answer.headers.get_all(LINK).iter().filter_map(|link| link.to_str().ok());
    let mut links = links.flat_map(|link| link.split(','));
    links.find_map(|link| {
        let (url, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
        rest.replace(['"', ' '], "").split(';').any(|part| part == "rel=next").then(|| url.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::Login;

    #[test]
    fn a_place_in_a_registry_is_found_with_its_access_and_where_its_tokens_may_come_from() {
        let access = |name: &str, url: &str| Access {
            name: name.into(),
            url: url.into(),
            login: Login::None,
            ca_file: None,
            proxy: None,
        };
        let all = [access("docker", "oci://docker.io/"), access("team", "oci://r.io:5000/team")];
        let asking = Asking::new(&all);
        // (place, where it is asked for, whose access, a realm that is its own)
        let rows = [
            (
                "oci://r.io:5000/team//web/",
                Some(("https://r.io:5000/v2/team/web/x", Some("team"), "https://r.io:5000/t")),
            ),
            ("oci://r.io/team/web", Some(("https://r.io/v2/team/web/x", None, "https://r.io/token"))),
            (
                "oci://docker.io/a/web",
                Some((
                    "https://registry-1.docker.io/v2/a/web/x",
                    Some("docker"),
                    "https://auth.docker.io/token",
                )),
            ),
            ("oci://r.io/", None),
            ("oci://r.io", None),
            ("oci://r.io/a/../b", None),
            ("oci://r.io/a?b", None),
            ("oci://r.io/a%2fb", None),
            ("https://r.io/a", None),
        ];
        for (place, expected) in rows {
            let registry = Registry::at(&asking, place);
            let Some((url, access, realm)) = expected else {
                assert!(registry.is_none(), "{place}");
                continue;
            };
            let registry = registry.expect(place);
            assert_eq!(registry.url("x").expect(place).as_str(), url);
            assert_eq!(registry.access.map(|access| &*access.name), access, "{place}");
            assert!(registry.is_its_own(&realm.parse().expect(realm)), "{place}");
            for other in ["https://auth.docker.io.evil.io/", "http://auth.docker.io/", "https://r.io:5001/"] {
                assert!(!registry.is_its_own(&other.parse().expect(other)), "{place} {other}");
            }
        }
    }
}
