//! Wire: HTTP to a Git server, as gix speaks it, with rules of ours.
//!
//! In: gix' requests. Out: the answers, looked at ([`Answer`]). Never: follows a redirect but that of the first question, nor one from https to
//! http, to a link-local address where a catalog names the server, or through more than five; takes what is for one host to another.

use std::io::{self, BufRead, Cursor, Read};

use gix::protocol::transport::client::blocking_io::http::{
    self, GetResponse, Http, PostBodyDataKind, PostResponse,
};
use reqwest::Url;

use super::answers::Answer;
use super::errors::Unfit;
use crate::addresses;

/// As many as with charts.
const REDIRECTS: usize = 5;

type Inner = http::reqwest::Remote;

/// Options of gix with which it leaves redirects to [`Wire`].
pub(super) fn options(backend: http::reqwest::Options) -> http::Options {
    http::Options {
        follow_redirects: http::options::FollowRedirects::None,
        backend: Some(std::sync::Arc::new(std::sync::Mutex::new(backend))),
        ..Default::default()
    }
}

/// A way to a server.
pub(super) struct Wire {
    inner: Inner,
    is_guarded: bool,
    /// Bytes of an object's id.
    id: usize,
    /// Where the repository is found to be.
    base: Option<String>,
}

impl Wire {
    /// To one that is guarded, or not, as [`super::Options`] has it.
    pub fn new(is_guarded: bool, id: usize) -> Self {
        Self { inner: Inner::default(), is_guarded, id, base: None }
    }

    /// Where a redirect leads, if it may.
    fn led(&self, from: &Url, location: &str) -> Result<Url, Unfit> {
        let next = from.join(location).map_err(|_| Unfit::Redirect("it leads on to what is no URL"))?;
        if from.scheme() == "https" && next.scheme() != "https" {
            return Err(Unfit::Redirect("it leads on from https:// to what is not encrypted"));
        }
        let objection = if self.is_guarded { addresses::objection(&next) } else { None };
        objection.map_or(Ok(next), |why| Err(Unfit::Redirect(why)))
    }
}

impl Http for Wire {
    type Headers = Box<dyn BufRead + Send>;
    type ResponseBody = Answer<<Inner as Http>::ResponseBody>;
    type PostBody = <Inner as Http>::PostBody;

    fn get(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix::Result<GetResponse<Self::Headers, Self::ResponseBody>> {
        let tail = url.strip_prefix(base_url).unwrap_or_default();
        let headers: Vec<String> = headers.into_iter().map(|header| header.as_ref().to_owned()).collect();
        let refused = |unfit: Unfit| gix::Error::from_error(unfit);
        let mut at: Url = url.parse().map_err(gix::Error::from_error)?;
        let home = at.origin();
        for _ in 0..=REDIRECTS {
            // Written as the client below writes it, which otherwise takes it for another.
            let base = at.as_str().strip_suffix(tail).map(str::to_owned);
            let base =
                base.ok_or_else(|| refused(Unfit::Redirect("it leads on to what is no Git repository, perhaps to where people log in: check the URL and the credentials")))?;
            let is_shown = |header: &&String| at.origin() == home || !is_login(header);
            let GetResponse { headers: mut told, body } =
                self.inner.get(at.as_str(), &base, headers.iter().filter(is_shown))?;
            let mut text = Vec::new();
            let failure = told.read_to_end(&mut text).err();
            match location(&text).filter(|_| failure.is_none()) {
                Some(location) => at = self.led(&at, &location).map_err(refused)?,
                None => {
                    self.base = Some(base);
                    let headers = Box::new(Told { text: Cursor::new(text), failure });
                    return Ok(GetResponse { headers, body: Answer::new(body, self.id) });
                }
            }
        }
        Err(refused(Unfit::Redirect("it leads on through more than five redirects")))
    }

    fn post(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        body: PostBodyDataKind,
    ) -> gix::Result<PostResponse<Self::Headers, Self::ResponseBody, Self::PostBody>> {
        let PostResponse { post_body, headers, body } = self.inner.post(url, base_url, headers, body)?;
        Ok(PostResponse { post_body, headers: Box::new(headers), body: Answer::new(body, self.id) })
    }

    fn configure(&mut self, config: &dyn std::any::Any) -> gix::Result {
        self.inner.configure(config)
    }

    fn redirected_base_url(&self) -> Option<String> {
        self.base.clone()
    }
}

fn is_login(header: &str) -> bool {
    header.split(':').next().is_some_and(|name| name.eq_ignore_ascii_case("authorization"))
}

/// Where an answer leads on to, by its headers; one that Git understands does not.
fn location(headers: &[u8]) -> Option<String> {
    let headers = String::from_utf8_lossy(headers);
    let values = |name: &'static str| {
        let pairs = headers.lines().filter_map(|line| line.split_once(':'));
        pairs.filter(move |(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    let is_git = values("content-type").any(|kind| kind.starts_with("application/x-git-"));
    values("location").next().filter(|_| !is_git).map(str::to_owned)
}

/// Headers that were read, and how that ended.
struct Told {
    text: Cursor<Vec<u8>>,
    failure: Option<io::Error>,
}

impl BufRead for Told {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.failure.take().map_or(Ok(()), Err)?;
        self.text.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.text.consume(amount);
    }
}

impl Read for Told {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.failure.take().map_or(Ok(()), Err)?;
        self.text.read(into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_leads_where_it_may() {
        let rows = [
            ("https://git.example.com/shop", "https://git.example.com/team/shop", "", ""),
            ("https://git.example.com/shop", "/team/shop", "", ""),
            ("http://git.example.com/shop", "https://other.example.com/shop", "", ""),
            ("https://git.example.com/shop", "http://git.example.com/shop", "not encrypted", "not encrypted"),
            ("https://git.example.com/shop", "file:///etc/passwd", "not encrypted", "not encrypted"),
            ("http://git.example.com/shop", "file:///etc/passwd", "neither", ""),
            ("http://git.example.com/shop", "http://169.254.169.254/shop", "link-local", ""),
            ("https://git.example.com/shop", "https://0xa9fea9fe/shop", "link-local", ""),
            ("https://git.example.com/shop", "https://me:x@other.example.com/shop", "user or password", ""),
            ("https://git.example.com/shop", "https://[", "no URL", "no URL"),
        ];
        for (from, location, guarded, unguarded) in rows {
            for (is_guarded, expected) in [(true, guarded), (false, unguarded)] {
                let led = Wire::new(is_guarded, 20).led(&from.parse().expect(from), location);
                let told = led.map_or_else(|unfit| unfit.to_string(), |_| String::new());
                assert!(
                    told.contains(expected) && told.is_empty() == expected.is_empty(),
                    "{location}: {told}"
                );
            }
        }
    }

    #[test]
    fn what_git_understands_leads_nowhere() {
        let rows: [(&[u8], Option<&str>); 3] = [
            (b"Location: /a\ncontent-length: 0\n", Some("/a")),
            (b"location:/a\ncontent-type:application/x-git-upload-pack-advertisement\n", None),
            (b"content-type:text/html\n", None),
        ];
        for (headers, expected) in rows {
            assert_eq!(location(headers).as_deref(), expected);
        }
        assert!(is_login("authorization: Basic x") && !is_login("User-Agent: Authorization: x"));
    }
}
