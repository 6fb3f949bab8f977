"""The frontier: what is known once, what is stored together, and what a kill leaves behind."""

import asyncio
import gc
import sqlite3

import pytest

from penstock.services.scraper import frontier as module
from penstock.services.scraper.frontier import Frontier, StateError, Store
from penstock.services.scraper.model import Page
from penstock.services.scraper.visit import Visit


def visit(url, host="e.com", **more):
    return Visit(0, f"http://{host}{url}", host, **more)


def waits(coroutine):
    """Whether a coroutine has to wait for anything."""
    try:
        coroutine.send(None)
    except StopIteration:
        return False
    coroutine.close()
    return True


class Running:
    """A frontier that commits, and what it told."""

    def __init__(self, store, max_known=10_000):
        self.pages, self.new = [], []
        self.frontier = Frontier(store, self.committed, max_known=max_known)

    def committed(self, pages, new):
        self.pages += pages
        self.new += new

    async def __aenter__(self):
        self.task = asyncio.create_task(self.frontier.run())
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.frontier.close()

    async def added(self, *visits):
        """Adds, waits for the commit, and returns what turned out to be new."""
        before = len(self.new)
        self.frontier.add(visits)
        await self.frontier.stored()
        return [found.url for found in self.new[before:]]


@pytest.fixture(name="path", params=["file", "memory"])
def state_path(request, tmp_path):
    return tmp_path / "site.crawl" if request.param == "file" else None


@pytest.fixture(name="store")
def open_store(path):
    store = Store(path)
    yield store
    store.close()


async def test_a_url_is_new_once_however_often_it_is_found(store):
    async with Running(store) as running:
        assert await running.added(visit("/a"), visit("/b"), visit("/a")) == [
            "http://e.com/a",
            "http://e.com/b",
        ]
        assert running.frontier.is_known("http://e.com/a")
        assert await running.added(visit("/b"), visit("/c")) == ["http://e.com/c"]
        assert store.queued() == [("e.com", 3)]


async def test_what_memory_forgot_the_file_still_knows(store, monkeypatch):
    monkeypatch.setattr(module, "SEEN", 2)
    async with Running(store) as running:
        await running.added(*(visit(f"/{number}") for number in range(10)))
        assert not running.frontier.is_known("http://e.com/0")
        assert await running.added(visit("/0"), visit("/new")) == ["http://e.com/new"]


async def test_visits_come_back_from_the_file_as_they_were(store):
    async with Running(store) as running:
        await running.added(visit("/", given="E.com"))
        page = running.new[0]
        found = visit("/a", kind="check", depth=3, chain=2, parent=page.id, from_sitemap=True)
        await running.added(found)
        first, second = await running.frontier.load("e.com", 0, 10)
        assert (first.url, first.given, first.referrer) == ("http://e.com/", "E.com", "")
        assert (second.id, second.url, second.host, second.kind) == (found.id, found.url, "e.com", "check")
        assert (second.depth, second.chain, second.parent, second.from_sitemap) == (3, 2, page.id, True)
        assert second.referrer == "http://e.com/"
        assert [later.url for later in await running.frontier.load("e.com", first.id, 10)] == [
            "http://e.com/a"
        ]
        assert await running.frontier.load("other.com", 0, 10) == []


async def test_a_row_its_end_and_its_links_are_stored_together(store, monkeypatch):
    async with Running(store) as running:
        await running.added(visit("/"))
        (page,) = running.new
        running.frontier.add([visit("/a")])
        running.frontier.finish(page, Page("http://e.com/", canonical="http://e.com/", title="é\0\n<"))
        assert running.pages == []
        await running.frontier.stored()
        assert [row.title for row in running.pages] == ["é\0\n<"]
        assert list(store.rows()) == running.pages
        assert [found.url for found in store.load("e.com", 0, 10)] == ["http://e.com/a"]


async def test_rows_that_cannot_be_encoded_are_stored_with_their_characters_replaced(store):
    async with Running(store) as running:
        await running.added(visit("/"))
        running.frontier.finish(
            running.new[0], Page("http://e.com/", title="a\ud800b", selected={"x": ["\udfff"]})
        )
        await running.frontier.stored()
        (row,) = store.rows()
        assert (row.title, row.selected) == ("a\ufffdb", {"x": ["\ufffd"]})
        assert running.pages == [row]


async def test_many_rows_come_back_in_the_order_of_their_commits(store):
    async with Running(store) as running:
        await running.added(*(visit(f"/{number}") for number in range(1200)))
        order = [*running.new[600:], *running.new[:600]]
        for done in order:
            running.frontier.finish(done, Page(done.url, attempts=1))
        await running.frontier.stored()
        assert [row.url for row in store.rows()] == [done.url for done in order]
        assert store.asked() == [("e.com", 1200)]
        assert store.queued() == []


async def test_a_redirect_owns_what_it_leads_to_unless_that_is_known(store):
    async with Running(store) as running:
        await running.added(visit("/a"), visit("/b"))
        first, second = running.new
        assert await running.frontier.claim(first, "http://e.com/target", "e.com")
        assert not await running.frontier.claim(second, "http://e.com/target", "e.com")
        assert not await running.frontier.claim(second, "http://e.com/a", "e.com")
        assert await running.added(visit("/target")) == []
        assert list(first.claims) == ["http://e.com/target"]
        running.frontier.finish(first, Page(first.url))
        await running.frontier.stored()
        assert [found.url for found in store.load("e.com", 0, 10)] == ["http://e.com/b"]


async def test_a_link_and_a_redirect_to_one_url_in_one_commit_make_one_visit(store):
    async with Running(store) as running:
        await running.added(visit("/a"))
        owns = running.frontier.claim(running.new[0], "http://e.com/target", "e.com")
        running.frontier.add([visit("/target")])
        await running.frontier.stored()
        assert len(running.new) == 2 - (await owns)


async def test_no_more_urls_are_known_than_the_bound(store):
    async with Running(store, max_known=3) as running:
        assert len(await running.added(*(visit(f"/{number}") for number in range(5)))) == 3
        assert running.frontier.dropped == 2
        assert await running.added(visit("/more")) == []


async def test_workers_wait_while_too_much_waits_to_be_stored(store, monkeypatch):
    async with Running(store) as running:
        await running.added(*(visit(f"/{number}") for number in range(5)))
        monkeypatch.setattr(module, "MAX_PENDING", 3)
        for done in running.new[:2]:
            running.frontier.finish(done, Page(done.url))
        assert not waits(running.frontier.room())
        running.frontier.finish(running.new[2], Page(running.new[2].url))
        assert waits(running.frontier.room())
        await running.frontier.room()


async def test_an_error_of_the_file_reaches_everyone_who_waits_and_all_who_come_later(tmp_path):
    store = Store(tmp_path / "site.crawl")
    async with Running(store) as running:
        await running.added(visit("/a"))
        store._db.execute("DROP TABLE rows")
        running.frontier.finish(running.new[0], Page("http://e.com/a"))
        waiting = asyncio.create_task(running.frontier.stored())
        owns = running.frontier.claim(running.new[0], "http://e.com/b", "e.com")
        with pytest.raises(StateError, match="cannot be read or written: no such table: rows"):
            await running.task
        for future in (owns, waiting):
            with pytest.raises(StateError, match="no such table"):
                await future
        with pytest.raises(StateError, match="no such table"):
            running.frontier.add([visit("/b")])
        await asyncio.gather(running.task, return_exceptions=True)
    store.close()


def reopened(path):
    """The state after a kill: a copy of the files as they are, with the first one still open."""
    copy = path.with_name("copy.crawl")
    for end in ("", "-wal"):
        copy.with_name(copy.name + end).write_bytes(path.with_name(path.name + end).read_bytes())
    return Store(copy)


async def test_a_killed_run_leaves_what_was_committed(tmp_path):
    path = tmp_path / "site.crawl"
    store = Store(path)
    async with Running(store) as running:
        await running.added(visit("/done"), visit("/queued"), visit("/moved"), visit("/started"))
        done, _, moved, started = running.new
        await running.frontier.claim(moved, "http://e.com/target", "e.com")
        await running.frontier.start(started)
        running.frontier.widen("www.e.com")
        running.frontier.finish(done, Page(done.url))
        await running.frontier.stored()
        running.frontier.add([visit("/not-committed")])
        survivor = reopened(path)
    store.close()
    assert [row.url for row in survivor.rows()] == ["http://e.com/done"]
    assert [found.url for found in survivor.load("e.com", 0, 9)] == [
        "http://e.com/queued",
        "http://e.com/moved",
    ]
    assert [found.url for found in survivor.started()] == ["http://e.com/started"]
    assert survivor.hosts() == ["www.e.com"]
    async with Running(survivor) as running:
        assert await running.added(visit("/target"), visit("/done")) == ["http://e.com/target"]
        assert running.new[0].id > started.id
    survivor.queue_started()
    assert survivor.queued() == [("e.com", 4)]
    survivor.close()


def test_one_state_serves_one_run_at_a_time(tmp_path):
    store = Store(tmp_path / "site.crawl")
    with pytest.raises(
        StateError, match=r"site\.crawl is in use by another run: wait for it, or name another file"
    ):
        Store(tmp_path / "site.crawl")
    store.close()
    Store(tmp_path / "site.crawl").close()


def test_what_is_no_state_is_refused_and_left_as_it_was(tmp_path):
    text = tmp_path / "text"
    text.write_text("a text that is no database\n" * 100)
    with pytest.raises(StateError, match="text is no state of a scraper: name another file"):
        Store(text)
    assert text.read_text().startswith("a text")
    other = tmp_path / "other.db"
    database = sqlite3.connect(other)
    database.execute("CREATE TABLE mine (a)")
    database.close()
    with pytest.raises(StateError, match=r"other\.db is no state of a scraper, or one of another version"):
        Store(other)
    with pytest.raises(StateError, match="unable to open database file"):
        Store(tmp_path / "no such folder" / "site.crawl")


@pytest.mark.parametrize("row", ["", "{", '{"url": 3}', "[]"])
def test_a_row_that_is_none_is_an_error_of_the_state(tmp_path, row):
    store = Store(tmp_path / "site.crawl")
    store._db.execute("INSERT INTO rows (id, row) VALUES (1, ?)", (row,))
    with pytest.raises(StateError, match=r"site\.crawl holds a row that is none: "):
        list(store.rows())
    store.close()


def test_every_error_of_a_state_is_an_os_error():
    assert issubclass(StateError, OSError)


def test_a_state_without_a_file_leaves_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = Store(None)
    store.close()
    gc.collect()
    assert list(tmp_path.iterdir()) == []


async def test_who_brings_urls_faster_than_they_are_stored_waits(store, monkeypatch):
    monkeypatch.setattr(module, "MAX_PENDING", 3)
    async with Running(store) as running:
        running.frontier.add(visit(f"/{number}") for number in range(2))
        assert not waits(running.frontier.room())
        running.frontier.add([visit("/2")])
        assert waits(running.frontier.room())
        await running.frontier.stored()
        assert not waits(running.frontier.room())
