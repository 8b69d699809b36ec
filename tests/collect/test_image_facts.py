"""Images by their token."""

from pickapic.collect.duels import images


def test_facts_are_found_by_the_token_in_an_address(hands):
    user = hands.guest()
    uid = hands.start(user, "a cat")
    leased = hands.lease()
    hands.finish(leased)
    shown = hands.view(user, uid).round
    url = "http://host:1" + images.url_of(shown.left.token) + "?x=1"
    assert images.token_of(url) == shown.left.token
    found = hands.read(images.facts, [shown.left.token, "unknown"])
    fact = found[shown.left.token]
    job = next(job for job in leased if f"{job.id:064x}" == shown.left.sha256)
    assert (fact.model, fact.seed, fact.prompt) == (job.order.generator, job.order.seed, "a cat")
    assert fact.guidance_scale == job.order.guidance_scale
    assert list(found) == [shown.left.token]
