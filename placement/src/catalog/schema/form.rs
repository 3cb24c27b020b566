//! Forms of text: what people call them, and the pattern that an editor can check.

/// A form of text. The parser knows more than a pattern can say: whether an expression holds together, for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Any.
    Any,
    /// A name: a DNS-1123 subdomain.
    Name,
    /// The name of an app, or with one `*` of a template.
    AppName,
    /// The name of a namespace: a DNS-1123 label.
    Namespace,
    /// The key of a label or of a taint.
    LabelKey,
    /// The value of a label or of a taint.
    LabelValue,
    /// A path, relative to the file that it stands in.
    Path,
    /// A path from the root of another repository.
    Inside,
    /// Directories, relative to the file that they stand in: a path whose last part has one `*`.
    Directories,
    /// A chart: its path, or its name in a repository.
    Chart,
    /// An expression in CEL.
    Cel,
    /// A JSON pointer.
    Pointer,
    /// A label selector in a line.
    Selector,
    /// The name of an image.
    Image,
    /// The tag of an image; `${…}` may stand in it.
    Tag,
    /// The digest of an image.
    Digest,
    /// A duration.
    Duration,
    /// A percentage.
    Percent,
    /// One thing of a cluster: a label, or a fact.
    Look,
    /// A service account.
    ServiceAccount,
    /// A time zone.
    TimeZone,
    /// A cron expression.
    Cron,
    /// A date, or a date and a time of day.
    When,
    /// A URL of a repository.
    Url,
    /// A commit, by a name.
    Ref,
    /// A version, or a range of them.
    Versions,
    /// A name with any number of `*`.
    Pattern,
}

/// An amount of a resource.
pub(super) const AMOUNT: &str = r"^([0-9]+\.?[0-9]*|\.[0-9]+)(Ki|Mi|Gi|Ti|Pi|Ei|m|k|M|G|T|P|E)?$";

impl Form {
    /// What people call it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Any => "string",
            Self::Name | Self::AppName => "name",
            Self::Namespace => "namespace",
            Self::LabelKey => "label key",
            Self::LabelValue => "label value",
            Self::Path | Self::Inside => "path",
            Self::Directories => "path with *",
            Self::Chart => "path or name",
            Self::Cel => "CEL expression",
            Self::Pointer => "JSON pointer",
            Self::Selector => "label selector",
            Self::Image => "image name",
            Self::Tag => "image tag",
            Self::Digest => "digest",
            Self::Duration => "duration",
            Self::Percent => "percentage from 0% to 100%",
            Self::Look => "label or fact",
            Self::ServiceAccount => "service account",
            Self::TimeZone => "time zone",
            Self::Cron => "cron expression",
            Self::When => "date",
            Self::Url => "URL",
            Self::Ref => "reference of Git",
            Self::Versions => "range of versions",
            Self::Pattern => "name with *",
        }
    }

    /// A pattern that all such text has, in the regular expressions of JSON Schema.
    pub(super) fn pattern(self) -> Option<&'static str> {
        Some(match self {
            Self::Any | Self::Cel | Self::Selector | Self::Ref | Self::Versions => return None,
            Self::Url => r"^\S+:\S+$",
            Self::Pattern => "^[A-Za-z0-9.*-]+$",
            Self::Name => r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$",
            Self::AppName => r"^[a-z0-9*]([a-z0-9*-]*[a-z0-9*])?(\.[a-z0-9*]([a-z0-9*-]*[a-z0-9*])?)*$",
            Self::Namespace => "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
            Self::LabelKey => "^([a-z0-9.-]+/)?[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$",
            Self::LabelValue => "^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$",
            Self::Path | Self::Inside | Self::Chart => r"^[^/\\][^\\]*$",
            Self::Directories => r"^([^*/\\?{}\[\]][^*\\?{}\[\]]*/)?[^*/\\?{}\[\]]*\*[^*/\\?{}\[\]]*(/\.?)*$",
            Self::Pointer => "^/.",
            Self::Image => "^([^@]*/|[^@/:])[^@/:]*$",
            Self::Tag => r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$|[$][{]",
            Self::Digest => "^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$",
            Self::Duration => "^([0-9]+(ms|s|m|h|d))+$",
            Self::Percent => "^0*([0-9]|[1-9][0-9]|100)%$",
            Self::Look => r"^(labels|facts)[.\[].",
            Self::ServiceAccount => "^([a-z0-9.-]+/)?[a-z0-9.-]+$",
            Self::Cron => r"^\s*(@[a-z]+|[^\s@]+(\s+\S+){4})\s*$",
            Self::When => "^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}(:[0-9]{2})?)?$",
            Self::TimeZone => "^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z][A-Za-z0-9_+-]*){0,2}$",
        })
    }

    /// The most characters that it has.
    pub(super) fn longest(self) -> Option<u32> {
        match self {
            Self::Name | Self::AppName => Some(253),
            Self::Namespace | Self::LabelValue => Some(63),
            Self::TimeZone => Some(64),
            _ => None,
        }
    }
}
