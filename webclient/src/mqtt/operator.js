// Connecting as the operator who is signed in to the console: the server makes a token, good for minutes, for
// its own node only. The page keeps it in memory, and fetches a new one for every connection.

const SIGN_IN = new Set([401, 403]); // 403: of Django's, whose CSRF token ended with the session

/** { token, clientId, username, expiresAt (ms), publish, subscribe, leftOut }; throws { problem, retry }. */
export async function fetchToken({ tokenUrl, csrf }, clientId) {
  let response;
  try {
    response = await fetch(tokenUrl, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRFToken": csrf },
      body: JSON.stringify(clientId ? { client_id: clientId } : {}),
      redirect: "error",
    });
  } catch {
    throw { problem: { key: "operator.unreachable" }, retry: true };
  }
  if (!response.ok) {
    const { error } = await response.json().catch(() => ({})); // Django's own pages are no JSON
    const signIn = SIGN_IN.has(response.status) ? "operator.signIn" : "operator.failed";
    const key = error === "forbidden" ? "operator.forbidden" : signIn;
    throw { problem: { key, params: { status: response.status } }, retry: response.status >= 500 };
  }
  const answer = await response.json();
  return {
    token: answer.token,
    clientId: answer.client_id,
    username: answer.username,
    expiresAt: Date.now() + answer.expires_in * 1000,
    leftOut: answer.left_out,
  };
}
