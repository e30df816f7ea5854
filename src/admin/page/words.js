// What the gateway's words mean, in a sentence each. The words themselves are those of its log and metrics.

export const OUTCOMES = {
  completed: "The upstream’s answer was passed on whole.",
  put_back: "The upstream had no place for it; it cost nothing, and waited for another turn.",
  truncated: "The answer broke off, or a stream ended without its last event.",
  client_gone:
    "The caller left before the end. What the call cost was learned all the same where it could be.",
  refused: "Refused after credits had been held for it, so that they were given back.",
  failed: "The upstream could not be reached, or gave no usable answer.",
  cut: "The gateway shut down before the call had ended.",
  crashed:
    "The gateway ended without a shutdown while the call was under way. It was booked at the next start.",
};

// Why a call was booked by estimate, or what was held for it given back.
export const REASONS = {
  never_sent: "it was never sent",
  refused_by_upstream: "the upstream refused the request",
  key_refused: "the upstream refused the organisation’s key",
  no_credits_upstream: "the upstream had no credits left",
  rate_limited_upstream: "the upstream’s rate limit was reached",
  no_answer: "the upstream did not answer",
  upstream_error: "the upstream answered with an error",
  truncated: "the answer broke off before its cost",
  failed_in_stream: "the answer failed midway and named no cost",
  no_usage: "the answer named no cost",
  job: "it goes on behind its answer, and has not said its cost",
  under_way: "the answer is made in the background, and has not said its cost",
  fixed_price: "the price list’s figure",
  dropped: "the call was cut off before its cost",
  crash: "the gateway ended while it was under way",
};

export const BASES = {
  final: "The upstream’s own figure.",
  estimated:
    "In doubt: the upstream may have charged, and named no figure. Booked at what was held; reconciling replaces it.",
  derived: "What follows from the upstream’s bill: it can be explained by this job only.",
  "given back": "Nothing was charged: the call was never sent, or the upstream refused it.",
};

export const REFUSALS = {
  invalid_json: "The body was not JSON.",
  missing_field: "A field that the route needs was missing.",
  invalid_field: "A field of the call could not be right.",
  invalid_request: "The request’s head was not one to forward.",
  idempotency_key_required: "The call was too dear to be made twice by mistake, and had no `Idempotency-Key`.",
  idempotency_key_reused: "The `Idempotency-Key` was another call’s.",
  idempotency_in_progress: "The call of that `Idempotency-Key` was under way, and its answer too large for a second caller.",
  idempotency_answer_gone: "The call of that `Idempotency-Key` was answered and paid for, and the answer was not kept. It was not made again.",
  idempotency_outcome_unknown: "The call of that `Idempotency-Key` may have been paid for, and its answer was lost. It was not made again.",
  unsupported_transfer_coding: "The body came in a transfer coding other than chunked.",
  missing_api_key: "No key was sent.",
  invalid_api_key: "The key, token or certificate was unknown, wrong, expired or revoked.",
  identity_not_allowed: "A token or certificate was valid, and of no member of a team, or of several.",
  identity_unavailable: "The keys that verify a token could not be had from its issuer.",
  key_not_replaced: "A team asked for another key in place of one that could not be replaced.",
  analysis_not_allowed: "The team may not ask about this analysis, or about another team’s thing.",
  unknown_route: "There is nothing at this path.",
  method_not_allowed: "The path does not take this method.",
  misdirected_request: "The target named another host than the Host field.",
  loop_detected: "The call had passed this gateway before: its upstream address points back at it.",
  request_timeout: "The request did not arrive in time.",
  expectation_failed: "It expected something that cannot be met; send it without `Expect`.",
  body_too_large: "The body was larger than the team may send.",
  unsupported_media_type: "The body was not declared as plain JSON.",
  rate_limit_exceeded: "The team had used its requests per minute.",
  concurrency_limit_exceeded: "The team had as many calls in flight as it may.",
  upstream_window_full: "The organisation’s requests per minute, shared by all teams, were used.",
  queue_full: "As many of the team’s calls waited for their turn as may.",
  job_limit_reached: "As many jobs of the route were under way as the upstream takes at once.",
  route_not_allowed: "The team may not use this route.",
  upstream_credits_exhausted: "The organisation’s pool at the upstream was empty, or a limit it has set there reached.",
  upstream_subscription_lapsed: "The organisation’s subscription at the upstream had lapsed.",
  upstream_down: "No connection to the upstream could be made. Nothing was sent.",
  credits_held: "What was left of a budget was held for calls in flight.",
  reserve_above_max: "The call may have cost more than its caller wanted it to.",
  budget_exceeded: "A budget of the team, the key or the organisation had too little left.",
  ledger_unavailable: "The ledger could not be written, so nothing was sent.",
  upstream_unreachable: "The upstream could not be reached. Nothing was sent.",
  upstream_protocol_error: "The upstream gave no usable answer. It may have charged.",
  upstream_credentials_rejected: "The upstream refused the organisation’s own key.",
  upstream_timeout: "The upstream did not answer in time. It may have charged.",
  draining: "The gateway was shutting down.",
};

// States of the upstream in which calls do not go as they should: state, words, banner and its tone.
const UPSTREAM = {
  pool_empty: ["closed", "Pool empty", "The upstream’s pool of credits is empty: calls that cost are refused with 402 until it has credits again.", "bad"],
  workspace_limit: ["closed", "Limit reached", "A limit that the organisation has set at the upstream is reached: calls that cost are refused with 402 until it is raised.", "bad"],
  subscription_lapsed: ["closed", "Subscription lapsed", "The subscription at the upstream has lapsed: every call is refused with 402 until it is renewed.", "bad"],
  key_refused: ["closed", "Key refused", "The upstream refuses the organisation’s key: every call is refused with 502 until there is another at its source.", "bad"],
  unreachable: ["closed", "Upstream unreachable", "No connection to the upstream can be made: calls are refused with 503 until one can.", "bad"],
  window_closed: ["serving", "Serving", "The upstream has asked to be left alone for a while: calls wait their turn.", "warn"],
  slow: ["serving", "Serving", "The upstream gives no answers in time.", "warn"],
};

const known = (table, word) => (Object.hasOwn(table, word) ? table[word] : undefined);

export const plain = (word) => word.replaceAll("_", " ");
export const outcomeMeans = (word) => known(OUTCOMES, word) ?? null;
export const upstreamMeans = (word) => known(UPSTREAM, word);
export const refusalMeans = (word) => known(REFUSALS, word) ?? "A reason this page does not know.";

// `final`, or what stands in its place and why.
export function basis(call) {
  const why = call.reason ? (known(REASONS, call.reason) ?? plain(call.reason)) : null;
  const what = call.basis ?? "given back";
  return ["final", "derived"].includes(what) || !why ? what : `${what}: ${why}`;
}

// What a difference between bill and ledger means to whoever pays.
export function driftMeans({ drift, in_doubt }, credits) {
  if (drift > 0) {
    return `The upstream has billed ${credits(drift)} more than our books explain. Calls made with the organisation’s key past this gateway, or before its ledger began, look like this.`;
  }
  if (drift < 0) {
    return `Our books have ${credits(-drift)} more than the upstream has billed. Its figures may be behind; if it stays, reconcile call by call.`;
  }
  return in_doubt > 0
    ? `Bill and books agree, within the ${credits(in_doubt)} in doubt.`
    : "Bill and books agree.";
}
