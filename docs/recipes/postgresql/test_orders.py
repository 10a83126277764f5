from pytest_isolate import isolate


@isolate(memory="64M", timeout="30s")
def test_the_sum_is_made_in_the_database(database):
    assert database.execute("select sum(id) from orders").fetchone() == (500000500000,)


@isolate(memory="64M", timeout="30s")
def test_an_order_more(database):
    database.execute("insert into orders values (0)")
    assert database.execute("select count(*) from orders").fetchone() == (1000001,)
