"""Full-text search in memory: documents that are found as soon as they are added, best first, and why."""

from penstock.search import Analyzer, Integer, InvertedIndex, Range, Text

BOOKS = {
    "moby": ("Moby-Dick", "A sailor tells of the captain who hunts the white whale that took his leg.", 1851),
    "sea": ("Twenty Thousand Leagues", "A captain takes his guests round the sea in a submarine.", 1870),
    "time": ("The Time Machine", "An inventor travels to the far future and comes back with flowers.", 1895),
    "war": (
        "The War of the Worlds",
        "Invaders in machines come from Mars and the sea cannot stop them.",
        1898,
    ),
    "hound": ("The Hound", "A detective hunts a hound on the moor, and finds a man behind it.", 1902),
}

index = InvertedIndex(
    {"title": Text(boost=2), "blurb": Text(), "year": Integer()},
    analyzer=Analyzer(stop_words="english"),  # Analyzer("english") finds stems too; it needs penstock[search]
    positions=True,
)
for doc_id, (title, blurb, year) in BOOKS.items():
    index.add(doc_id, {"title": title, "blurb": blurb, "year": year})
print(index)


def show(what, hits, query):
    print(f"\n{what}")
    for doc_id, score in hits:
        title, blurb, year = BOOKS[doc_id]
        piece = index.highlight(query, blurb, before="*", after="*", field="blurb", fragment=48)
        print(f"  {score:.3f}  {title} ({year}): {piece}")


# words: one of them is enough, and nothing that somebody types can fail
show("sea captain", index.search("sea captain", 3), "sea captain")

# a syntax for those who want more; parsing is lenient unless strict=True
query = index.parse('+captain "white whale"^2 -submarin~1 hunt*')
show(str(query), index.search(query), query)

# filters have no part in scores: ids, numpy masks or queries
show("hunts, from 1900 on", index.search("hunts", filter=Range("year", 1900)), "hunts")
show("hunts, before 1900", index.search("hunts", filter=index.column("year") < 1900), "hunts")

# documents change while they are searched
index.update(
    "hound", {"title": "The Hound of the Baskervilles", "blurb": "A machine of a dog.", "year": 1902}
)
index.delete("war")
machines = index.search("machine")
show("machine, after an update and a deletion", machines, "machine")

print(f"\nWhy {machines[0].doc_id} comes first:")
print(index.explain("machine", machines[0].doc_id))
