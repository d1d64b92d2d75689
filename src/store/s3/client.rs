use std::fmt;
use std::path::Path;
use std::time::Duration;

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Config, ProvideCredentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedCredentialsProvider, StalledStreamProtectionConfig,
};
use aws_smithy_http_client::tls;
use tokio::sync::OnceCell;

use crate::config::{S3Checksums, S3Config};

use super::Patience;
use super::skew::Skew;

/// What other servers are asked in; they sign with whatever they are told.
const ANY_REGION: &str = "us-east-1";
const LONGEST_BACKOFF: Duration = Duration::from_secs(20);

pub(super) fn client(config: &S3Config, folder: &Path, patience: &Patience, skew: Skew) -> Client {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
        .build_https();
    let region = Region::new(config.region.clone().unwrap_or_else(|| ANY_REGION.into()));
    let provider = ProviderConfig::without_region()
        .with_region(Some(region.clone()))
        .with_http_client(http.clone());
    let retries = RetryConfig::standard()
        .with_max_attempts(patience.tries)
        .with_initial_backoff(patience.backoff)
        .with_max_backoff(LONGEST_BACKOFF);
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(patience.connect)
        .operation_attempt_timeout(patience.attempt)
        .operation_timeout(patience.deadline)
        .build();
    let checksums = match config.checksums {
        S3Checksums::None => RequestChecksumCalculation::WhenRequired,
        _ => RequestChecksumCalculation::WhenSupported,
    };
    let builder = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .http_client(http)
        .region(region.clone())
        .credentials_provider(credentials(config, folder, region, provider))
        .force_path_style(config.path_style)
        .retry_config(retries)
        .timeout_config(timeouts)
        .stalled_stream_protection(
            StalledStreamProtectionConfig::enabled()
                .grace_period(patience.stall)
                .build(),
        )
        .request_checksum_calculation(checksums)
        // Whoever reads holds the bytes against a signed hash.
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        // A wrong clock is told: snapshots and locks carry its times.
        .disable_clock_skew_correction(true)
        .interceptor(skew);
    let builder = match &config.endpoint {
        Some(endpoint) => builder.endpoint_url(endpoint),
        None => builder,
    };
    Client::from_conf(builder.build())
}

fn credentials(
    config: &S3Config,
    folder: &Path,
    region: Region,
    provider: ProviderConfig,
) -> SharedCredentialsProvider {
    let wanted = &config.credentials;
    if wanted.profile.is_none() && wanted.file.is_none() {
        return SharedCredentialsProvider::new(Usual {
            region,
            provider,
            chain: OnceCell::new(),
        });
    }
    let mut profile = ProfileFileCredentialsProvider::builder().configure(&provider);
    if let Some(file) = &wanted.file {
        let files = EnvConfigFiles::builder().with_file(EnvConfigFileKind::Credentials, folder.join(file));
        profile = profile.profile_files(files.build());
    }
    // Another profile of the environment is not what was configured.
    let name = wanted.profile.as_deref().unwrap_or("default");
    SharedCredentialsProvider::new(profile.profile_name(name).build())
}

/// Where Amazon's own tools look, one place after the other: environment, `~/.aws`, the machine's role.
struct Usual {
    region: Region,
    provider: ProviderConfig,
    chain: OnceCell<DefaultCredentialsChain>,
}

impl fmt::Debug for Usual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Usual")
    }
}

impl ProvideCredentials for Usual {
    fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        aws_credential_types::provider::future::ProvideCredentials::new(async {
            let built = || async {
                let chain = DefaultCredentialsChain::builder().configure(self.provider.clone());
                chain.region(self.region.clone()).build().await
            };
            self.chain.get_or_init(built).await.provide_credentials().await
        })
    }
}
