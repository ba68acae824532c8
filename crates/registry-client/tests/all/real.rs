//! Against Debian's docker-registry.

use std::collections::HashMap;

use bytes::Bytes;
use oci_spec::image::{Digest, MediaType};
use orlop_registry_client::{Client, Credentials, ErrorKind, Hasher, Pushed};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::docker_registry::{Config, DockerRegistry};
use crate::hostile::{data, drain, impatient, layer, manifest};

fn client() -> Client {
    Client::builder().build().unwrap()
}

#[tokio::test]
async fn push_and_pull() {
    let registry = DockerRegistry::start(&Config::default());
    let client = client();
    let reference = registry.reference("a/b:v1");
    assert_eq!(
        client.manifest(&reference).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert!(
        client
            .manifest_descriptor(&reference)
            .await
            .unwrap()
            .is_none()
    );
    let error = client
        .blob(&reference, &layer(b"nothing"), 0)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);

    let blob = data(3_000_001);
    let file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut &file, &blob).unwrap();
    assert_eq!(
        client
            .push_blob(&reference, &layer(&blob), file, None)
            .await
            .unwrap(),
        Pushed::Uploaded
    );
    let again = Bytes::from(blob.clone());
    assert_eq!(
        client
            .push_blob(&reference, &layer(&blob), again, None)
            .await
            .unwrap(),
        Pushed::Existed
    );
    assert_eq!(
        client
            .blob_exists(&reference, layer(&blob).digest())
            .await
            .unwrap(),
        Some(3_000_001)
    );
    assert!(drain(&client, &reference, &layer(&blob)).await.unwrap() == blob);

    let mut tail = client
        .blob(&reference, &layer(&blob), 2_000_000)
        .await
        .unwrap();
    let mut rest = Vec::new();
    while let Some(chunk) = tail.chunk().await.unwrap() {
        rest.extend_from_slice(&chunk);
    }
    assert!(rest == blob[2_000_000..]);

    let config = Bytes::from_static(b"{}");
    client
        .push_blob(&reference, &layer(&config), config, None)
        .await
        .unwrap();
    let put = client
        .push_manifest(&reference, &MediaType::ImageManifest, manifest().into())
        .await
        .unwrap();
    let got = client.manifest(&reference).await.unwrap();
    assert_eq!(
        (got.bytes.as_ref(), &got.descriptor),
        (manifest().as_slice(), &put)
    );
    assert_eq!(
        client.manifest_descriptor(&reference).await.unwrap(),
        Some(put.clone())
    );
    client
        .delete_manifest(&reference.clone_with_digest(put.digest().to_string()))
        .await
        .unwrap();
    assert_eq!(
        client.manifest(&reference).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    client
        .delete_blob(&reference, layer(&blob).digest())
        .await
        .unwrap();
    assert_eq!(
        client
            .blob_exists(&reference, layer(&blob).digest())
            .await
            .unwrap(),
        None
    );
}

#[tokio::test]
async fn mount_and_tags() {
    let registry = DockerRegistry::start(&Config::default());
    let client = client();
    let (from, to) = (registry.reference("from"), registry.reference("to"));
    let blob = Bytes::from(data(1000));
    client
        .push_blob(&from, &layer(&blob), blob.clone(), None)
        .await
        .unwrap();
    let mounted = client
        .push_blob(&to, &layer(&blob), blob.clone(), Some("from"))
        .await
        .unwrap();
    assert_eq!(mounted, Pushed::Mounted);
    let other = Bytes::from(data(1001));
    let uploaded = client
        .push_blob(&to, &layer(&other), other.clone(), Some("from"))
        .await
        .unwrap();
    assert_eq!(
        uploaded,
        Pushed::Uploaded,
        "the repository mounted from has no such blob"
    );

    assert_eq!(
        client
            .tags(&registry.reference("none"))
            .await
            .unwrap_err()
            .kind(),
        ErrorKind::NotFound
    );
    let config = Bytes::from_static(b"{}");
    client
        .push_blob(&to, &layer(&config), config, None)
        .await
        .unwrap();
    let mut expected = Vec::new();
    for n in 0..20 {
        expected.push(format!("v{n:02}"));
        let reference = registry.reference(&format!("to:v{n:02}"));
        client
            .push_manifest(&reference, &MediaType::ImageManifest, manifest().into())
            .await
            .unwrap();
    }
    // docker-registry 2.8 gives them in no order.
    let mut tags = client.tags(&to).await.unwrap();
    tags.sort();
    assert_eq!(tags, expected);
    let digest = client
        .manifest(&registry.reference("to:v00"))
        .await
        .unwrap();
    assert!(
        client
            .referrers(&to, digest.descriptor.digest())
            .await
            .unwrap()
            .is_empty()
    );
}

/// What the registry finds wrong with an upload comes back as such.
#[tokio::test]
async fn wrong_uploads() {
    let registry = DockerRegistry::start(&Config::default());
    let reference = registry.reference("a:latest");
    let wrong = Bytes::from(data(1000));
    let error = client()
        .push_blob(&reference, &layer(&data(1001)[1..]), wrong, None)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Digest, "{error}");
    let error = client()
        .push_manifest(&reference, &MediaType::ImageManifest, manifest().into())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    assert_eq!(error.server_errors()[0].code, "MANIFEST_BLOB_UNKNOWN");
}

#[tokio::test]
async fn sha512() {
    let registry = DockerRegistry::start(&Config::default());
    let reference = registry.reference("a");
    let blob = Bytes::from(data(5000));
    let any: Digest = format!("sha512:{}", "0".repeat(128)).parse().unwrap();
    let mut hasher = Hasher::for_digest(&any).unwrap();
    hasher.update(&blob);
    let mut descriptor = layer(&blob);
    descriptor.set_digest(hasher.text().parse().unwrap());
    client()
        .push_blob(&reference, &descriptor, blob.clone(), None)
        .await
        .unwrap();
    // docker-registry 2.8 stores it under its sha256 name only, which a newer registry does not.
    match drain(&client(), &reference, &descriptor).await {
        Ok(bytes) => assert!(bytes == blob),
        Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
    }
}

#[tokio::test]
async fn htpasswd() {
    let config = Config {
        htpasswd: Some(("me", "s3cret")),
        tls: None,
    };
    let registry = DockerRegistry::start(&config);
    let host = format!("localhost:{}", registry.port);
    for (credentials, good) in [
        (Credentials::basic("me", "s3cret"), true),
        (Credentials::basic("me", "wrong"), false),
        (Credentials::Anonymous, false),
    ] {
        let client = Client::builder()
            .credentials(HashMap::from([(host.clone(), credentials)]))
            .build()
            .unwrap();
        let reference = registry.reference("a:latest");
        let blob = Bytes::from(data(100));
        let result = client
            .push_blob(&reference, &layer(&blob), blob.clone(), None)
            .await;
        match result {
            Ok(_) => {
                assert!(good && drain(&client, &reference, &layer(&blob)).await.unwrap() == blob)
            }
            Err(error) => assert!(!good && error.kind() == ErrorKind::Unauthorized, "{error}"),
        }
        assert_eq!(client.ping(&reference).await.is_ok(), good);
    }
}

#[tokio::test]
async fn tls_with_an_own_authority() {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .signed_by(&key, &authority)
        .unwrap();
    let (certificate, key) = (certificate.pem(), key.serialize_pem());
    let registry = DockerRegistry::start(&Config {
        htpasswd: None,
        tls: Some((&certificate, &key)),
    });
    let reference = registry.reference("a:latest");

    // Loopback or not: a certificate that does not verify is no leave for plain HTTP.
    let error = client().ping(&reference).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error}");

    for builder in [impatient(), impatient().only_given_roots()] {
        let client = builder.root_certificates(authority.pem()).build().unwrap();
        let blob = Bytes::from(data(100_000));
        client
            .push_blob(&reference, &layer(&blob), blob.clone(), None)
            .await
            .unwrap();
        assert!(drain(&client, &reference, &layer(&blob)).await.unwrap() == blob);
    }
    // The certificate is for another name.
    let other = format!("127.0.0.1:{}/a", registry.port).parse().unwrap();
    let client = impatient()
        .root_certificates(authority.pem())
        .build()
        .unwrap();
    assert_eq!(
        client.ping(&other).await.unwrap_err().kind(),
        ErrorKind::Tls
    );
}

/// A port that speaks both: whoever sits between could answer in the clear, so a certificate that does not verify ends it.
#[tokio::test]
async fn an_untrusted_certificate_is_no_leave_for_plain_http() {
    use std::io::{Read, Write};

    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            key.serialize_der().try_into().unwrap(),
        )
        .unwrap();
    let config = std::sync::Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let reference = format!("localhost:{}/a", listener.local_addr().unwrap().port())
        .parse()
        .unwrap();
    let plain = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&plain);
    // Ends with the test program.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut first = [0];
            if stream.peek(&mut first).is_ok() && first == [0x16] {
                let mut tls =
                    rustls::ServerConnection::new(std::sync::Arc::clone(&config)).unwrap();
                let _ = tls.complete_io(&mut stream);
            } else {
                count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
        }
    });
    let error = impatient()
        .build()
        .unwrap()
        .ping(&reference)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
    assert_eq!(
        plain.load(std::sync::atomic::Ordering::Relaxed),
        0,
        "asked in the clear"
    );
}
