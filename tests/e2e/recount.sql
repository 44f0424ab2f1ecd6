-- A second opinion in PostgreSQL's own numeric: folds published messages into positions by the contract's words (§3.1-§3.3)
-- and knows nothing of the service's code. Executions and market events come by two queues, so the order between them is
-- open; the stream is made such that it does not matter (recount_stream.py), and here executions are simply folded first.

create table published (
    seq bigint primary key, -- in the order of publication, within a queue
    queue text not null,    -- 'executions' or 'market'
    message_id text,
    body text not null,
    planted text            -- the reason for which the body has to be refused whatever the state
);

create table recounted (
    asset text, mode text,
    size numeric(20,8), average_entry_price numeric(20,8), current_price numeric(20,8), unrealized_pnl numeric(20,8),
    realized_pnl numeric(20,8), fees_paid numeric(20,8), long_size numeric(20,8), short_size numeric(20,8),
    long_avg_price numeric(20,8), short_avg_price numeric(20,8),
    executions int, market_events int, primary key (asset, mode)
);

create table refused (seq bigint primary key, reason text);
create unlogged table identities (identity text primary key, said text not null);
create unlogged table orders_so_far (order_id text primary key, filled numeric, notional numeric, fees numeric);

create type side_state as (size numeric, avg numeric, realized numeric);

-- The average-cost method for one signed size: q signed, n = |q| x price exactly, f the fee.
create function fold_fill(s side_state, q numeric, n numeric, f numeric) returns side_state language plpgsql immutable as $$
declare
    many constant numeric := 1.0000000000000000000000000000000000000000; -- forty digits for quotients
    closed numeric;
    worth numeric; -- of the closed part, at the fill's price
begin
    if s.size = 0 or sign(s.size) = sign(q) then
        s.avg := round((abs(s.size) * coalesce(s.avg, n * many / abs(q)) + n) * many / (abs(s.size) + abs(q)), 8);
        s.size := s.size + q;
        return s;
    end if;
    closed := least(abs(s.size), abs(q));
    worth := case when closed = abs(q) then n else n * many * closed / abs(q) end;
    s.realized := round(s.realized + (worth - closed * s.avg) * sign(s.size) - f, 8);
    if abs(q) > abs(s.size) then
        s.avg := round(n * many / abs(q), 8);
    elsif abs(q) = abs(s.size) then
        s.avg := null;
    end if;
    s.size := s.size + q;
    return s;
end $$;

create function recount() returns void language plpgsql as $$
declare
    m record;
    b jsonb;
    o jsonb;
    asset_now text := '';
    one side_state; long side_state; short side_state;
    one_n int; hedge_n int; one_market int; hedge_market int;
    fees numeric; hedge_fees numeric; hedge_realized numeric;
    one_price numeric; hedge_price numeric; one_upnl numeric;
    one_at timestamptz; hedge_at timestamptz; one_last text; hedge_last text;
    who text; said text; known text;
    q numeric; p numeric; f numeric; n numeric; side int; leg text; mode text; at timestamptz;
    before record;
    grown numeric; average numeric;
begin
    for m in select *, case when planted is null then case when queue = 'market' then body::jsonb #>> '{data,symbol}'
             else coalesce(body::jsonb ->> 'asset', body::jsonb #>> '{order,asset}') end else '' end as asset
             from published order by 6, queue, seq loop
        if m.planted is not null then
            insert into refused values (m.seq, m.planted);
            continue;
        end if;
        if m.asset <> asset_now then
            if asset_now <> '' then
                perform store(asset_now, one, long, short, fees, hedge_fees, hedge_realized, one_price, hedge_price, one_upnl, one_n, hedge_n,
                              one_market, hedge_market);
            end if;
            asset_now := m.asset;
            one := (0, null, 0); long := (0, null, 0); short := (0, null, 0);
            one_n := 0; hedge_n := 0; one_market := 0; hedge_market := 0;
            fees := 0; hedge_fees := 0; hedge_realized := 0; one_price := null; hedge_price := null; one_upnl := null;
            one_at := null; hedge_at := null; one_last := null; hedge_last := null;
        end if;
        b := m.body::jsonb;

        if m.queue = 'market' then
            o := b -> 'data';
            at := (o ->> 'timestamp')::timestamptz;
            side := case lower(o ->> 'side') when 'sell' then -1 else 1 end;
            average := round(nullif((o ->> 'avgPrice')::numeric, 0), 8);
            if o ->> 'positionIdx' in ('1', '2') or o ->> 'mode' = 'hedge' then
                if hedge_at > at or (hedge_at = at and hedge_last = m.body) then continue; end if;
                hedge_at := at; hedge_last := m.body; hedge_market := hedge_market + 1;
                hedge_price := coalesce(round((o ->> 'markPrice')::numeric, 8), hedge_price);
                if o ->> 'size' is null then continue; end if;
                if hedge_n > 0 then raise 'the stream says a size of % that executions own', asset_now; end if;
                if o ->> 'positionIdx' = '1' then
                    long := fold_said(long, (o ->> 'size')::numeric, average);
                else
                    short := fold_said(short, -(o ->> 'size')::numeric, average);
                end if;
                continue;
            end if;
            if one_at > at or (one_at = at and one_last = m.body) then continue; end if;
            one_at := at; one_last := m.body; one_market := one_market + 1;
            one_price := coalesce(round((o ->> 'markPrice')::numeric, 8), one_price);
            if o ->> 'size' is not null then
                if one_n > 0 then raise 'the stream says a size of % that executions own', asset_now; end if;
                one := fold_said(one, side * (o ->> 'size')::numeric, average);
            end if;
            one.realized := coalesce(round((o ->> 'realisedPnl')::numeric, 8), one.realized);
            one_upnl := coalesce(round((o ->> 'unrealisedPnl')::numeric, 8), round(one.size * (one_price - one.avg), 8), 0);
            continue;
        end if;

        -- An execution. Who is it, and was it here before?
        o := coalesce(b -> 'order', b);
        mode := coalesce(o ->> 'mode', 'one-way');
        side := case lower(o ->> 'side') when 'buy' then 1 else -1 end;
        q := coalesce(o ->> 'execution_quantity', o ->> 'filled_quantity')::numeric;
        p := round(coalesce(o ->> 'execution_price', o ->> 'average_price')::numeric, 8);
        f := round(coalesce(o ->> 'execution_fees', o ->> 'fees', '0')::numeric, 8);
        who := coalesce('x' || (b ->> 'execution_id'), 'e' || (b ->> 'event_id'), 'm' || m.message_id, 'd' || md5(m.body));
        said := concat_ws('|', asset_now, mode, side, o ->> 'position_side', o ->> 'order_id', q, p);
        select i.said into known from identities i where i.identity = who;
        if found then
            if known <> said then insert into refused values (m.seq, 'identity_conflict'); end if;
            continue;
        end if;

        -- What is new of it?
        select * into before from orders_so_far s where s.order_id = o ->> 'order_id';
        if b ? 'order' then
            if found then
                if q <= before.filled then
                    insert into identities values (who, said);
                    continue;
                end if;
                n := q * p - before.notional; grown := q - before.filled; f := f - before.fees;
            else
                n := q * p; grown := q;
            end if;
        else
            n := q * p; grown := q;
        end if;

        if mode = 'hedge' then
            leg := lower(coalesce(o ->> 'position_side', case when side > 0 then 'long' else 'short' end));
            if leg = 'long' then
                if side < 0 and grown > long.size then insert into refused values (m.seq, 'leg_below_zero'); continue; end if;
                long.realized := hedge_realized;
                long := fold_fill(long, side * grown, n, f);
                hedge_realized := long.realized;
            else
                if side > 0 and grown > abs(short.size) then insert into refused values (m.seq, 'leg_below_zero'); continue; end if;
                short.realized := hedge_realized;
                short := fold_fill(short, side * grown, n, f);
                hedge_realized := short.realized;
            end if;
            hedge_fees := hedge_fees + f; hedge_n := hedge_n + 1;
        else
            one := fold_fill(one, side * grown, n, f);
            fees := fees + f; one_n := one_n + 1;
        end if;
        insert into identities values (who, said);
        if o ->> 'order_id' is not null then
            insert into orders_so_far as s values (o ->> 'order_id', grown, n, f) on conflict (order_id)
            do update set filled = s.filled + excluded.filled, notional = s.notional + excluded.notional, fees = s.fees + excluded.fees;
        end if;
    end loop;
    if asset_now <> '' then
        perform store(asset_now, one, long, short, fees, hedge_fees, hedge_realized, one_price, hedge_price, one_upnl, one_n, hedge_n,
                      one_market, hedge_market);
    end if;
end $$;

-- A size and an average that the exchange says of a position, or a leg, that no execution has touched.
create function fold_said(s side_state, size numeric, average numeric) returns side_state language plpgsql immutable as $$
begin
    s.size := size;
    if size = 0 then
        s.avg := null;
    elsif average is not null and (s.avg is null or abs(average - s.avg) > s.avg * 0.001) then
        s.avg := average;
    end if;
    return s;
end $$;

create function store(asset text, one side_state, long side_state, short side_state, fees numeric, hedge_fees numeric,
                      hedge_realized numeric, one_price numeric, hedge_price numeric, one_upnl numeric, one_n int, hedge_n int,
                      one_market int, hedge_market int) returns void language plpgsql as $$
begin
    if one_n + one_market > 0 then
        -- What executions moved is valued at the known price; what only the exchange spoke of keeps what it last said.
        if one_n > 0 then one_upnl := coalesce(round(one.size * (one_price - one.avg), 8), 0); end if;
        insert into recounted values (asset, 'one-way', one.size, one.avg, one_price, coalesce(one_upnl, 0), one.realized, fees,
                                      null, null, null, null, one_n, one_market);
    end if;
    if hedge_n + hedge_market > 0 then
        insert into recounted values (asset, 'hedge', long.size + short.size,
            case when short.size = 0 then long.avg when long.size = 0 then short.avg end, hedge_price,
            coalesce(round(coalesce(long.size * (hedge_price - long.avg), 0) + coalesce(short.size * (hedge_price - short.avg), 0), 8), 0),
            hedge_realized, hedge_fees, long.size, abs(short.size), long.avg, short.avg, hedge_n, hedge_market);
    end if;
end $$;
