//! Asked: what a request to an API server is about, in the words of its audit log.
//!
//! In: method, URI, headers. Out: [`Asked`]; [`Which`] picks some of them. Pure.

use hyper::header::{ACCEPT, HeaderMap};
use hyper::{Method, Uri};

/// What a client asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// get, list, watch, create, update, patch, delete, deletecollection; of what is no resource: get or post.
    pub verb: &'static str,
    /// Empty for the core group and for what is in none.
    pub group: String,
    /// Empty for what is no resource: discovery, `/version`.
    pub resource: String,
    /// Empty where there is none.
    pub namespace: String,
    /// Empty for collections.
    pub name: String,
    /// Empty for the object itself.
    pub subresource: String,
    /// As it came.
    pub path: String,
    /// As it came, without the question mark.
    pub query: String,
    /// The forms in which the answer is wanted, as they came.
    pub accept: String,
}

impl Asked {
    /// Reads a request's first line.
    pub fn of(method: &Method, uri: &Uri) -> Self {
        let (path, query) = (uri.path(), uri.query().unwrap_or_default());
        let mut asked = Self { path: path.to_owned(), query: query.to_owned(), ..Self::default() };
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let rest = match parts.as_slice() {
            ["api", _version, rest @ ..] => rest,
            ["apis", group, rest @ ..] => {
                asked.group = (*group).to_owned();
                rest.get(1..).unwrap_or_default()
            }
            _ => &[],
        };
        // `namespaces/x` is an object, `namespaces/x/pods` is in one; `status` and `finalize` are the object's own.
        let rest = match rest {
            ["namespaces", namespace, resource, rest @ ..] if !matches!(*resource, "status" | "finalize") => {
                asked.namespace = (*namespace).to_owned();
                [&[*resource], rest].concat()
            }
            rest => rest.to_vec(),
        };
        let at = |place: usize| rest.get(place).map(|part| (*part).to_owned()).unwrap_or_default();
        (asked.resource, asked.name, asked.subresource) = (at(0), at(1), at(2));
        asked.verb = verb(method, &asked);
        asked
    }

    /// With the forms in which the answer is wanted.
    #[must_use]
    pub fn accepting(mut self, headers: &HeaderMap) -> Self {
        let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
        self.accept = accept.unwrap_or_default().to_owned();
        self
    }

    /// A parameter of the query, decoded as far as selectors and tokens need it.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| decoded(value)).next()
    }

    /// Whether it changes something.
    pub fn writes(&self) -> bool {
        matches!(self.verb, "create" | "update" | "patch" | "delete" | "deletecollection")
    }
}

fn verb(method: &Method, asked: &Asked) -> &'static str {
    let collection = asked.name.is_empty() && !asked.resource.is_empty();
    match *method {
        Method::GET if asked.parameter("watch").is_some_and(|on| on != "false" && on != "0") => "watch",
        Method::GET if collection => "list",
        Method::POST if asked.resource.is_empty() => "post",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if collection => "deletecollection",
        Method::DELETE => "delete",
        _ => "get",
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digits: Option<[u8; 2]> =
            (byte == b'%').then(|| [rest.next(), rest.next()].map(Option::unwrap_or_default));
        let hex = digits.and_then(|pair| u8::from_str_radix(std::str::from_utf8(&pair).ok()?, 16).ok());
        bytes.push(hex.unwrap_or(if byte == b'+' { b' ' } else { byte }));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Some requests: those of which everything holds that was said.
#[derive(Clone, Debug, Default)]
pub struct Which {
    verbs: &'static [&'static str],
    writes: bool,
    group: Option<String>,
    resource: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
    path: Option<String>,
    query: Option<String>,
}

impl Which {
    /// Every request.
    pub fn all() -> Self {
        Self::default()
    }

    /// Only those that change something.
    pub fn writes() -> Self {
        Self { writes: true, ..Self::default() }
    }

    /// Only these verbs.
    #[must_use]
    pub fn verbs(mut self, verbs: &'static [&'static str]) -> Self {
        self.verbs = verbs;
        self
    }

    /// Only those of a group, its discovery included; `""` is the core group.
    #[must_use]
    pub fn group(mut self, group: &str) -> Self {
        self.group = Some(group.to_owned());
        self
    }

    /// Only those of a resource, e.g. `configmaps`.
    #[must_use]
    pub fn resource(mut self, resource: &str) -> Self {
        self.resource = Some(resource.to_owned());
        self
    }

    /// Only those in a namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// Only those of one object.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Only those whose path begins so.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        self.path = Some(path.to_owned());
        self
    }

    /// Only those whose query contains this.
    #[must_use]
    pub fn query(mut self, query: &str) -> Self {
        self.query = Some(query.to_owned());
        self
    }

    /// Whether a request is one of them.
    pub fn fits(&self, asked: &Asked) -> bool {
        let is = |wanted: &Option<String>, has: &str| wanted.as_deref().is_none_or(|wanted| wanted == has);
        (self.verbs.is_empty() || self.verbs.contains(&asked.verb))
            && (!self.writes || asked.writes())
            && is(&self.group, &asked.group)
            && is(&self.resource, &asked.resource)
            && is(&self.namespace, &asked.namespace)
            && is(&self.name, &asked.name)
            && self.path.as_deref().is_none_or(|path| asked.path.starts_with(path))
            && self.query.as_deref().is_none_or(|query| asked.query.contains(query))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_the_audit_log_reads_it() {
        let rows = [
            ("GET", "/version", "get  / "),
            ("GET", "/apis/apps/v1", "get apps / "),
            ("GET", "/api/v1/namespaces", "list  namespaces/ "),
            ("GET", "/api/v1/namespaces/shop", "get  namespaces/shop "),
            ("PUT", "/api/v1/namespaces/shop/finalize", "update  namespaces/shop "),
            ("GET", "/apis/apps/v1/deployments?watch=true&x=1", "watch apps deployments/ "),
            ("GET", "/apis/apps/v1/deployments?watch=false", "list apps deployments/ "),
            (
                "PATCH",
                "/apis/apps/v1/namespaces/shop/deployments/web?force=true",
                "patch apps deployments/web shop",
            ),
            (
                "PATCH",
                "/apis/apps/v1/namespaces/shop/deployments/web/scale",
                "patch apps deployments/web shop",
            ),
            ("DELETE", "/api/v1/namespaces/shop/configmaps", "deletecollection  configmaps/ shop"),
            ("POST", "/api/v1/namespaces", "create  namespaces/ "),
        ];
        for (method, uri, expected) in rows {
            let asked = Asked::of(&method.parse().unwrap(), &uri.parse().unwrap());
            let Asked { verb, group, resource, namespace, name, .. } = asked;
            assert_eq!(format!("{verb} {group} {resource}/{name} {namespace}"), expected, "{uri}");
        }
    }

    #[test]
    fn parameters_are_decoded() {
        let uri = "/api/v1/pods?labelSelector=a%2Fb%3Dc&continue=x+y".parse().unwrap();
        let asked = Asked::of(&Method::GET, &uri);
        assert_eq!(asked.parameter("labelSelector").as_deref(), Some("a/b=c"));
        assert_eq!(asked.parameter("continue").as_deref(), Some("x y"));
        assert_eq!(asked.parameter("limit"), None);
    }
}
