def test_it(hub):
    assert hub.repos() == []
