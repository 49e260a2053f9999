//! Conversations with a registry that are had again and again, each time with something else gone wrong.

use std::time::Duration;

use accel_domain::task::{State, Task};
use accel_domain::{Format, Output};
use accel_image::{Descriptor, Document};
use accel_registry_server::{Auth, Registry, Scheme};
use accel_test_support::tar::raw_names_tar;
use accel_test_support::{Fault, FaultyRegistry, ImageBuilder, IndexBuilder, Request, Rule, Seen};
use futures::StreamExt as _;

use crate::picture::{large, small};
use crate::stage::{APP, Stage, default_output};
use crate::{merged, nydus, originals};

const BEARER: Scheme = Scheme::Bearer { token_ttl: Duration::from_secs(300) };
/// What is converted, wherever nothing else is said.
pub(crate) const SOURCE: &str = "library/app:1";

/// The images of all scenes, packed once.
pub(crate) struct Images {
    first: ImageBuilder,
    second: ImageBuilder,
    mixed: ImageBuilder,
}

impl Images {
    /// Images whose first layer takes several requests to upload, or only one.
    pub(crate) fn new(several: bool) -> Self {
        let bottom = if several { large(1) } else { small(9) };
        let second = ImageBuilder::new().platform("linux/arm64").layer(&bottom).layer(&small(3));
        let mixed = ImageBuilder::new().layer(&small(1)).layer(&raw_names_tar());
        Self { first: ImageBuilder::new().layer(&bottom).layer(&small(1)), second, mixed }
    }
}

/// A conversation with a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scene {
    /// Two platforms that share a layer, at a registry that wants tokens; the target is beside its source, and refers
    /// to it.
    Index,
    /// One layer is converted and one is kept; the target is in another project.
    Elsewhere,
    /// All layers are remembered, and only looked for.
    Again,
    /// As the index, at a registry without HEAD, Range, mounts and referrers.
    Plain,
    /// As the index, and what is made is Nydus: parts of the new blobs are read back, and a layer is made of them.
    Nydus,
    /// As that, and the target is in another project, and has plain images beside those of Nydus.
    Merged,
    /// As Nydus, and the layers of the source stay: what is made of them are indexes into them.
    Referring,
}

pub(crate) const SCENES: [Scene; 7] =
    [Scene::Index, Scene::Elsewhere, Scene::Again, Scene::Plain, Scene::Nydus, Scene::Merged, Scene::Referring];

impl Scene {
    /// What the registry lacks.
    fn lacks(self) -> Vec<Rule> {
        let lacks = [
            (Request::ManifestHead, Fault::NoHead),
            (Request::BlobHead, Fault::NoHead),
            (Request::BlobGet, Fault::NoRange),
            (Request::Mount, Fault::NoMount),
            (Request::ManifestPut, Fault::NoReferrers),
            (Request::Referrers, Fault::NoReferrers),
        ];
        if self == Self::Plain { lacks.map(|(request, fault)| Rule::on(request, fault)).into() } else { Vec::new() }
    }

    pub(crate) fn source(self) -> &'static str {
        if self == Self::Again { "library/app:2" } else { SOURCE }
    }

    /// Repository and tag of the target.
    pub(crate) fn target(self) -> (&'static str, &'static str) {
        match self {
            Self::Index | Self::Plain => (APP, "1-esgz"),
            Self::Elsewhere | Self::Merged => ("fast/app", "1"),
            Self::Again => (APP, "2-esgz"),
            Self::Nydus | Self::Referring => (APP, "1-nydus"),
        }
    }

    fn output(self) -> Output {
        match self {
            Self::Index | Self::Plain => Output { subject: true, ..default_output() },
            Self::Elsewhere | Self::Again => default_output(),
            Self::Nydus => nydus::output(),
            Self::Merged => merged::output(),
            Self::Referring => originals::output(),
        }
    }

    /// The task that is run.
    pub(crate) fn task(self, stage: &Stage) -> Task {
        let (repository, tag) = self.target();
        stage.task_of(self.source(), &format!("{repository}:{tag}"), self.output())
    }

    /// Everything before the task is run; `faults` come before what the registry lacks.
    pub(crate) async fn stage(self, images: &Images, faults: Vec<Rule>) -> Stage {
        let stage = match self {
            Self::Index => {
                let registry = Registry::default().with_auth(Auth::new("robot$accel", "secret", BEARER));
                Stage::on(FaultyRegistry::serve(registry).await).with_login("robot$accel", "secret")
            }
            Self::Elsewhere | Self::Again | Self::Plain => Stage::new().await,
            Self::Nydus | Self::Merged | Self::Referring => Stage::new().await.making(Format::Nydus),
        };
        self.push(&stage, images);
        if self == Self::Again {
            stage.convert().await;
            stage.registry.forget_requests();
        }
        faults.into_iter().chain(self.lacks()).for_each(|rule| stage.registry.rule(rule));
        stage
    }

    fn push(self, stage: &Stage, images: &Images) {
        let content = stage.content();
        if self == Self::Elsewhere {
            images.mixed.push(content, APP, Some("1"));
            return;
        }
        let [one, other] = [&images.first, &images.second].map(|image| image.push(content, APP, None));
        let index = IndexBuilder::new().image(&one).image(&other);
        index.push(content, APP, Some("1"));
        index.annotation("another", "index").push(content, APP, Some("2"));
    }

    /// What the scene comes to without a fault.
    pub(crate) async fn recorded(self, images: &Images) -> Recording {
        let stage = self.stage(images, Vec::new()).await;
        let task = stage.run(self.task(&stage)).await;
        assert_eq!((task.state, task.reason.as_str(), task.work.attempts), (State::Completed, "", 0), "{self:?}");
        let (repository, tag) = self.target();
        // Before anybody looks at the result, which may be asked of the registry, too.
        let seen = stage.registry.requests();
        self.assert_same_content(&stage).await;
        let parts = self.parts(&stage);
        assert!(!parts.is_empty());
        let digest = |key: &String| stage.content().manifest(repository, key).map(|stored| stored.digest.to_string());
        Recording {
            scene: self,
            seen,
            parts,
            images: stage.platforms_of(repository, tag).iter().filter_map(digest).collect(),
            tags: stage.content().tags(repository),
        }
    }

    /// The target holds the files of the source.
    async fn assert_same_content(self, stage: &Stage) {
        let (repository, tag) = self.target();
        if matches!(self, Self::Nydus | Self::Merged | Self::Referring) {
            nydus::assert_verified(stage, "1", (repository, tag)).await;
            return;
        }
        let (sources, targets) = (stage.platforms(self.source()), stage.platforms_of(repository, tag));
        assert_eq!(sources.len(), targets.len());
        for (source, target) in std::iter::zip(sources, targets) {
            stage.assert_same_content((APP, &source), (repository, &target));
        }
    }

    /// Configuration and layers of each platform of the target; their digests do not depend on where they were made.
    pub(crate) fn parts(self, stage: &Stage) -> Vec<Vec<Descriptor>> {
        let (repository, tag) = self.target();
        let parts = |key: &String| {
            let manifest = stage.manifest(repository, key);
            std::iter::once(manifest.config).chain(manifest.layers).collect()
        };
        stage.platforms_of(repository, tag).iter().map(parts).collect()
    }
}

/// How a scene goes without a fault.
pub(crate) struct Recording {
    pub(crate) scene: Scene,
    /// Every request, in order.
    pub(crate) seen: Vec<Seen>,
    /// The result.
    pub(crate) parts: Vec<Vec<Descriptor>>,
    /// The digests of the images of the target.
    images: Vec<String>,
    /// The tags of the target's repository.
    tags: Vec<String>,
}

impl Recording {
    /// Each request, as the kind that it is and its number among those.
    pub(crate) fn positions(&self) -> Vec<(Request, usize)> {
        let number = |at: usize| self.seen[..=at].iter().filter(|seen| seen.request == self.seen[at].request).count();
        (0..self.seen.len()).map(|at| (self.seen[at].request, number(at))).collect()
    }

    /// Whether a request puts a manifest that names blobs, by its digest.
    pub(crate) fn puts_image(&self, (request, nth): (Request, usize)) -> bool {
        let seen = self.seen.iter().filter(|seen| seen.request == request).nth(nth - 1);
        seen.is_some_and(|seen| self.images.iter().any(|digest| seen.path.ends_with(digest.as_str())))
    }

    /// Whether it is the first request that shows a token: one that is refused then is a login that is not accepted.
    pub(crate) fn shows_a_fresh_token(&self, (request, nth): (Request, usize)) -> bool {
        let place = (0..self.seen.len()).filter(|at| self.seen[*at].request == request).nth(nth - 1);
        let before = place.map_or(&[][..], |at| &self.seen[..at]);
        let same = |seen: &&Seen| place.is_some_and(|at| seen.path == self.seen[at].path && seen.request == request);
        before.iter().rfind(same).is_some_and(|seen| seen.status == Some(401))
    }

    /// The scene has come to what it comes to: the result is there, and right, and nothing incomplete was ever put
    /// under a tag.
    pub(crate) fn assert_reached(&self, stage: &Stage, what: &str) {
        assert_eq!(self.scene.parts(stage), self.parts, "{what}");
        let (repository, tag) = self.scene.target();
        assert_eq!(stage.registry.lacking(repository, tag), [""; 0], "{what}");
        stage.assert_no_tag_was_incomplete(what);
    }

    /// The same tags are there, and no other.
    pub(crate) fn assert_same_tags(&self, stage: &Stage, what: &str) {
        // A fault takes the place of what the registry lacks: there it has referrers for once.
        if self.scene != Scene::Plain {
            assert_eq!(stage.content().tags(self.scene.target().0), self.tags, "{what}");
        }
    }
}

/// Plays all cases, so many at a time. Each that fails has said so before this does.
pub(crate) async fn play<T: Send + 'static>(
    at_once: usize,
    cases: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let played = futures::stream::iter(cases).map(tokio::spawn).buffer_unordered(at_once);
    let played: Vec<Result<T, _>> = played.collect().await;
    let failed = played.iter().filter(|played| played.is_err()).count();
    assert_eq!(failed, 0, "of {} cases", played.len());
    played.into_iter().flatten().collect()
}

impl Stage {
    /// The keys of the images under a tag: itself, or the entries of an index.
    pub(crate) fn platforms(&self, name: &str) -> Vec<String> {
        let (repository, tag) = name.rsplit_once(':').unwrap();
        self.platforms_of(repository, tag)
    }

    pub(crate) fn platforms_of(&self, repository: &str, tag: &str) -> Vec<String> {
        if self.content().manifest(repository, tag).is_none() {
            return Vec::new();
        }
        match self.document(repository, tag) {
            Document::Manifest(_) => vec![tag.to_owned()],
            Document::Index(index) => index.manifests.iter().map(|entry| entry.digest.to_string()).collect(),
        }
    }

    /// No manifest was ever put under a tag while a part of it was not there, whether the registry took it or not.
    pub(crate) fn assert_no_tag_was_incomplete(&self, what: &str) {
        for seen in self.registry.requests_of(Request::ManifestPut) {
            let tagged = !seen.path.contains("sha256:");
            assert!(!tagged || seen.lacked.is_empty(), "{what}: {seen:?}");
            let taken = seen.status.is_some_and(|status| status < 300);
            assert!(!taken || seen.lacked.is_empty(), "{what}: {seen:?}");
        }
    }
}
