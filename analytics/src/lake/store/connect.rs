//! Connecting: a lake's root in, the client of its object store out.
//!
//! The environment is read first, then the credentials file, then `[lake]`: what stands nearer to
//! peerscope counts more.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ObjectStore, RetryConfig};

use super::LakeError;
use crate::lake::place::{Access, Cloud, LakeRoot, Place};

/// Requests that the client makes again by itself; [`super::remote`] goes on behind that.
const CLIENT_RETRIES_MAX: usize = 3;
/// Longest time in which it does.
const CLIENT_RETRY_SECS_MAX: u32 = 60;
/// What does not answer a connection after this time is tried again.
const CONNECT_TIMEOUT_SECS: u64 = 5;
/// Bytes of a credentials file at most.
const CREDENTIALS_BYTES_MAX: u64 = 1 << 20;

/// The files of a lake as an object store, for readers: keys are relative to the lake. On local disk
/// it neither locks nor fsyncs.
///
/// # Errors
/// [`LakeError::Missing`] if there is no such folder, [`LakeError::Settings`] for wrong ones.
pub fn objects(root: &LakeRoot) -> Result<Arc<dyn ObjectStore>, LakeError> {
    let fail = |error: object_store::Error| LakeError::Settings {
        lake: root.to_string(),
        problem: error.to_string(),
    };
    match root.place() {
        Place::Folder(folder) if !folder.is_dir() => {
            Err(LakeError::Missing { lake: root.to_string() })
        }
        Place::Folder(folder) => {
            Ok(Arc::new(LocalFileSystem::new_with_prefix(folder).map_err(fail)?))
        }
        Place::Bucket { prefix, .. } => {
            Ok(Arc::new(PrefixStore::new(client(root)?, prefix.clone())))
        }
    }
}

/// The environment variables that matter to a store, for people.
pub(super) const fn variables(cloud: Cloud) -> &'static str {
    match cloud {
        Cloud::S3 => "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL",
        Cloud::Azure => {
            "AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN, \
             AZURE_STORAGE_ENDPOINT"
        }
        Cloud::Gcs => "GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT, GOOGLE_BASE_URL",
    }
}

fn client(root: &LakeRoot) -> Result<Arc<dyn ObjectStore>, LakeError> {
    let Place::Bucket { cloud, bucket, .. } = root.place() else {
        return Err(LakeError::Missing { lake: root.to_string() });
    };
    let access = root.access();
    let wrong = |problem: String| LakeError::Settings { lake: root.to_string(), problem };
    let secrets = secrets(access.credentials_file.as_deref()).map_err(wrong)?;
    let fail = |error: object_store::Error| {
        wrong(format!("{error}; see {} and [lake]", variables(*cloud)))
    };
    match cloud {
        Cloud::S3 => {
            let mut builder = AmazonS3Builder::from_env();
            for (key, value) in settings::<AmazonS3ConfigKey>(&secrets, access, "aws_endpoint_url")
                .map_err(wrong)?
            {
                builder = builder.with_config(key, value);
            }
            if let Some(region) = &access.region {
                builder = builder.with_region(region);
            }
            let endpoint = builder.get_config_value(&AmazonS3ConfigKey::S3Endpoint);
            let endpoint = endpoint.or(builder.get_config_value(&AmazonS3ConfigKey::Endpoint));
            check_http(endpoint, access, &secrets, "AWS").map_err(wrong)?;
            let builder = builder.with_bucket_name(bucket).with_retry(retry(access));
            let builder = builder.with_conditional_put(S3ConditionalPut::ETagMatch);
            Ok(Arc::new(builder.build().map_err(fail)?))
        }
        Cloud::Azure => {
            let mut builder = MicrosoftAzureBuilder::from_env();
            for (key, value) in
                settings::<AzureConfigKey>(&secrets, access, "azure_storage_endpoint")
                    .map_err(wrong)?
            {
                builder = builder.with_config(key, value);
            }
            let endpoint = builder.get_config_value(&AzureConfigKey::Endpoint);
            check_http(endpoint, access, &secrets, "AZURE").map_err(wrong)?;
            let builder = builder.with_container_name(bucket).with_retry(retry(access));
            Ok(Arc::new(builder.build().map_err(fail)?))
        }
        Cloud::Gcs => {
            let mut builder = GoogleCloudStorageBuilder::from_env();
            for (key, value) in
                settings::<GoogleConfigKey>(&secrets, access, "google_base_url").map_err(wrong)?
            {
                builder = builder.with_config(key, value);
            }
            let endpoint = builder.get_config_value(&GoogleConfigKey::BaseUrl);
            check_http(endpoint, access, &secrets, "GOOGLE").map_err(wrong)?;
            let builder = builder.with_bucket_name(bucket).with_retry(retry(access));
            Ok(Arc::new(builder.build().map_err(fail)?))
        }
    }
}

fn retry(access: &Access) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: CLIENT_RETRIES_MAX,
        retry_timeout: Duration::from_secs(access.retry_secs.min(CLIENT_RETRY_SECS_MAX).into()),
    }
}

/// What goes to the builder: the credentials file, then `[lake]`.
fn settings<K: FromStr>(
    secrets: &[(String, String)],
    access: &Access,
    endpoint: &str,
) -> Result<Vec<(K, String)>, String> {
    let cloud = endpoint.split('_').next().unwrap_or_default();
    let is_of_another = |name: &str| {
        let others = ["aws", "azure", "google"].into_iter().filter(|other| *other != cloud);
        others.into_iter().any(|other| {
            let start = name.get(..other.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(other))
        })
    };
    let mut settings = Vec::new();
    let mut add = |name: &str, value: String| match name.to_ascii_lowercase().parse() {
        Ok(key) => {
            settings.push((key, value));
            Ok(())
        }
        Err(_) => Err(format!("{name} is no setting of this store; remove it")),
    };
    // One file may serve several stores.
    for (name, value) in secrets.iter().filter(|(name, _)| !is_of_another(name)) {
        add(name, value.clone())?;
    }
    if let Some(url) = &access.endpoint {
        add(endpoint, url.clone())?;
    }
    if access.allow_http {
        add(&format!("{cloud}_allow_http"), "true".to_owned())?;
    }
    add("connect_timeout", format!("{CONNECT_TIMEOUT_SECS} s"))?;
    add("timeout", format!("{} s", access.request_timeout_secs))?;
    Ok(settings)
}

/// An endpoint without TLS is meant, or it is refused: whoever listens reads the rows.
fn check_http(
    endpoint: Option<String>,
    access: &Access,
    secrets: &[(String, String)],
    cloud: &str,
) -> Result<(), String> {
    let variable = format!("{cloud}_ALLOW_HTTP");
    let said = secrets.iter().find(|(name, _)| *name == variable).map(|(_, value)| value.clone());
    let said = said.or_else(|| std::env::var(&variable).ok());
    let may = access.allow_http || said.is_some_and(|value| value.eq_ignore_ascii_case("true"));
    match endpoint.filter(|url| url.starts_with("http://")) {
        Some(endpoint) if !may => Err(format!(
            "{endpoint} is without TLS; write https://, or [lake] allow_http = true or \
             {variable}=true where nobody can listen"
        )),
        _ => Ok(()),
    }
}

/// The lines `NAME=value` of a file, as a shell or Docker reads them.
fn secrets(path: Option<&Path>) -> Result<Vec<(String, String)>, String> {
    let Some(path) = path else { return Ok(Vec::new()) };
    let fail = |problem: String| format!("credentials_file {}: {problem}", path.display());
    let size = std::fs::metadata(path).map_err(|error| fail(error.to_string()))?.len();
    if size > CREDENTIALS_BYTES_MAX {
        return Err(fail(format!("{size} bytes are no list of NAME=value lines")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
    let mut secrets = Vec::new();
    for (line, number) in text.lines().map(str::trim).zip(1..) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = line.split_once('=') else {
            return Err(fail(format!("line {number} is not NAME=value")));
        };
        let value = value.trim();
        let quoted = ['"', '\''].into_iter().find_map(|quote| {
            value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote))
        });
        secrets.push((name.trim().to_owned(), quoted.unwrap_or(value).to_owned()));
    }
    Ok(secrets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str, access: Access) -> String {
        objects(&LakeRoot::parse(url).unwrap().with_access(access)).unwrap_err().to_string()
    }

    #[test]
    fn an_endpoint_without_tls_is_meant_or_refused() {
        for url in ["s3://b/x", "az://b/x", "gs://b/x"] {
            let access =
                Access { endpoint: Some("http://127.0.0.1:1/a".into()), ..Access::default() };
            let text = refused(url, access.clone());
            assert!(text.contains("without TLS") && text.contains("allow_http"), "{text}");
            let root = LakeRoot::parse(url).unwrap();
            let allowed = root.with_access(Access { allow_http: true, ..access });
            let opened = objects(&allowed).map(|_| ());
            let error = opened.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(!error.contains("TLS"), "{error}");
        }
    }

    #[test]
    fn a_credentials_file_is_lines_of_names_that_are_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lake.env");
        let access = Access { credentials_file: Some(path.clone()), ..Access::default() };
        assert!(refused("s3://b/x", access.clone()).contains("lake.env"));
        std::fs::write(&path, "AWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCES_KEY=hunter2\n").unwrap();
        let text = refused("s3://b/x", access.clone());
        assert!(text.contains("AWS_SECRET_ACCES_KEY is no setting"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
        std::fs::write(&path, "AWS_ACCESS_KEY_ID\n").unwrap();
        assert!(refused("s3://b/x", access.clone()).contains("line 1 is not NAME=value"));
        let text = "# of the lake\n\nAZURE_STORAGE_ACCOUNT_NAME=c\nexport AWS_ACCESS_KEY_ID='a'\nAWS_SECRET_ACCESS_KEY=\"b=c\"\n";
        std::fs::write(&path, text).unwrap();
        let read = secrets(Some(&path)).unwrap();
        let pairs: Vec<_> = read.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(
            pairs,
            [
                ("AZURE_STORAGE_ACCOUNT_NAME", "c"),
                ("AWS_ACCESS_KEY_ID", "a"),
                ("AWS_SECRET_ACCESS_KEY", "b=c")
            ]
        );
        objects(&LakeRoot::parse("s3://b/x").unwrap().with_access(access)).unwrap();
    }
}
