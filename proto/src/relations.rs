//! Relations to bytes and back: the hub encodes them once, and nobody who passes them on reads them.

use nave_placement::assign::EncodedRelations;
use nave_placement::catalog::Until;
use nave_placement::relations::{First, Relations};
use prost::Message as _;

use crate::convert::{ConvertError, app_from_proto, app_to_proto};
use crate::v1;

/// Relations as they travel.
pub fn encode_relations(relations: &Relations) -> EncodedRelations {
    let first = |first: &First| v1::relations::First {
        app: Some(app_to_proto(&first.app)),
        until: match first.until {
            Until::Applied => v1::relations::Until::Applied,
            Until::Healthy => v1::relations::Until::Healthy,
        }
        .into(),
        missing: first.is_missing,
    };
    let waits = relations.first.iter().map(|(app, of)| v1::relations::Waits {
        app: Some(app_to_proto(app)),
        first: of.iter().map(first).collect(),
    });
    let groups = relations.groups.iter().map(|(name, apps)| v1::relations::Group {
        name: name.clone(),
        apps: apps.iter().map(app_to_proto).collect(),
    });
    let message = v1::Relations { waits: waits.collect(), groups: groups.collect() };
    EncodedRelations(message.encode_to_vec().into())
}

/// Reads relations.
///
/// # Errors
/// When something in them cannot be read: then it is not known which change may begin.
pub fn decode_relations(encoded: &EncodedRelations) -> Result<Relations, ConvertError> {
    let message = v1::Relations::decode(&*encoded.0).map_err(|_| ConvertError("relations"))?;
    let app = |app: Option<v1::AppKey>| app_from_proto(&app.ok_or(ConvertError("app of a relation"))?);
    let first = |of: v1::relations::First| {
        let until = match v1::relations::Until::try_from(of.until) {
            Ok(v1::relations::Until::Applied) => Until::Applied,
            Ok(v1::relations::Until::Healthy) => Until::Healthy,
            Ok(v1::relations::Until::Unspecified) | Err(_) => {
                return Err(ConvertError("condition of a relation"));
            }
        };
        Ok(First { app: app(of.app)?, until, is_missing: of.missing })
    };
    let waits = |waits: v1::relations::Waits| {
        Ok((app(waits.app)?, waits.first.into_iter().map(first).collect::<Result<_, _>>()?))
    };
    let group = |group: v1::relations::Group| {
        let apps = group.apps.into_iter().map(|of| app(Some(of))).collect::<Result<_, _>>()?;
        Ok((group.name, apps))
    };
    Ok(Relations {
        first: message.waits.into_iter().map(waits).collect::<Result<_, _>>()?,
        groups: message.groups.into_iter().map(group).collect::<Result<_, _>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_read_back_and_what_a_newer_hub_means_is_refused() {
        let app = |name: &str| name.parse::<nave_placement::AppKey>().expect("a name");
        let first = |name: &str, until, is_missing| First { app: app(name), until, is_missing };
        let relations = Relations {
            first: [(
                app("web"),
                vec![first("db", Until::Applied, false), first("net", Until::Healthy, true)],
            )]
            .into(),
            groups: [("shop".to_owned(), [app("web"), app("db")].into())].into(),
        };
        let encoded = encode_relations(&relations);
        assert_eq!(decode_relations(&encoded), Ok(relations));
        assert!(encode_relations(&Relations::default()).is_empty());
        let of = v1::relations::First { app: Some(app_to_proto(&app("db"))), until: 9, missing: false };
        let waits = v1::relations::Waits { app: Some(app_to_proto(&app("web"))), first: vec![of] };
        let newer = v1::Relations { waits: vec![waits], groups: Vec::new() };
        for bytes in [newer.encode_to_vec(), b"\xff".to_vec()] {
            assert!(decode_relations(&EncodedRelations(bytes.into())).is_err());
        }
    }
}
