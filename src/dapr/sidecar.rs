//! The metadata of the Dapr sidecar.

use dapr::dapr::proto::runtime::v1::{
    AppConnectionProperties, GetMetadataRequest, PubsubSubscription, RegisteredComponents,
};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

/// The version of Dapr from which on the sidecar tells its resiliency policies.
const TELLS_POLICIES: (u32, u32) = (1, 18);

/// A trace that nobody records. The sidecar follows the choice, and so makes no span of each probe.
const UNRECORDED: &str = "00-00000000000000000000000000000001-0000000000000001-00";

/// `dapr.proto.runtime.v1.GetMetadataResponse`, with the fields that the worker asks for. The generated type lacks the policies, which
/// are newer than it (dapr/proto/runtime/v1/metadata.proto of Dapr 1.18).
#[derive(Clone, PartialEq, prost::Message)]
pub struct Metadata {
    /// The app id.
    #[prost(string, tag = "1")]
    pub id: String,
    /// The components that are loaded.
    #[prost(message, repeated, tag = "3")]
    pub components: Vec<RegisteredComponents>,
    /// The topics that are subscribed.
    #[prost(message, repeated, tag = "5")]
    pub subscriptions: Vec<PubsubSubscription>,
    /// The app as the sidecar knows it.
    #[prost(message, optional, tag = "7")]
    pub app: Option<AppConnectionProperties>,
    /// Dapr's version.
    #[prost(string, tag = "8")]
    pub version: String,
    #[prost(message, repeated, tag = "15")]
    resiliencies: Vec<Resiliency>,
}

impl Metadata {
    /// Whether this topic is subscribed.
    #[must_use]
    pub fn subscribes(&self, topic: &str) -> bool {
        self.subscriptions.iter().any(|one| one.topic == topic)
    }
}

/// A resiliency resource that is loaded.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
struct Resiliency {
    #[prost(string, tag = "1")]
    name: String,
}

impl Metadata {
    /// The names of the resiliency resources that are loaded. None: this version of Dapr does not tell.
    #[must_use]
    pub fn resiliencies(&self) -> Option<Vec<&str>> {
        let mut parts = self.version.trim_start_matches('v').split('.').map(|part| part.parse().ok());
        let version = (parts.next().flatten()?, parts.next().flatten()?);
        let tells = version >= TELLS_POLICIES || !self.resiliencies.is_empty();
        tells.then(|| self.resiliencies.iter().map(|one| one.name.as_str()).collect())
    }
}

/// The sidecar does not answer, or answers with an error.
#[derive(Debug, thiserror::Error)]
#[error("{:?}: {}", .0.code(), .0.message())]
pub struct Error(Box<Status>);

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self(Box::new(status))
    }
}

/// Asks the sidecar.
///
/// # Errors
///
/// [`Error`].
pub async fn metadata(channel: Channel, token: Option<&AsciiMetadataValue>) -> Result<Metadata, Error> {
    let mut request = Request::new(GetMetadataRequest {});
    request.metadata_mut().insert("traceparent", AsciiMetadataValue::from_static(UNRECORDED));
    if let Some(token) = token {
        request.metadata_mut().insert("dapr-api-token", token.clone());
    }
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(|error| Status::from_error(error.into()))?;
    let path = PathAndQuery::from_static("/dapr.proto.runtime.v1.Dapr/GetMetadata");
    Ok(client.unary(request, path, ProstCodec::default()).await?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_does_not_tell_its_policies_is_not_one_without() {
        let of = |version: &str, names: &[&str]| {
            let resiliencies = names.iter().map(|name| Resiliency { name: (*name).into() }).collect();
            let metadata = Metadata { version: version.into(), resiliencies, ..Metadata::default() };
            metadata.resiliencies().map(|names| names.len())
        };
        assert_eq!((of("1.17.9", &[]), of("edge", &[]), of("", &[])), (None, None, None));
        assert_eq!(
            (of("1.18.0", &[]), of("1.18.4", &["order-worker"]), of("2.0.0-rc.1", &[])),
            (Some(0), Some(1), Some(0))
        );
    }
}
