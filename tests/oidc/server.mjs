// A certified authorization server for the integration tests, plus a few
// routes under /test/ that show a test what the server has seen.
//
// Environment: TTL (access token lifetime in whole seconds, default 3),
// PUBLIC_JWK (RSA) and PUBLIC_JWK_EC (P-256): the public keys of the
// `key-jwt` and `key-jwt-ec` clients, which exist only when these are set.

import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { errors as joseErrors, jwtVerify } from 'jose';
import Provider, { errors } from 'oidc-provider';

// stdout carries only the `listening` line; the library's notices go to stderr.
console.info = console.error;

const ttl = Number(process.env.TTL ?? 3);
const day = 24 * 60 * 60;
const accountId = 'alice';

const signing = generateKeyPairSync('rsa', { modulusLength: 2048 });

const machine = (client_id, token_endpoint_auth_method, rest) => ({
  client_id,
  token_endpoint_auth_method,
  grant_types: ['client_credentials'],
  response_types: [],
  redirect_uris: [],
  scope: 'read',
  ...rest,
});

const keyClient = (client_id, alg, jwk) => (jwk
  ? [machine(client_id, 'private_key_jwt', {
    token_endpoint_auth_signing_alg: alg,
    jwks: { keys: [JSON.parse(jwk)] },
  })]
  : []);

const clients = [
  // Only right after form-urlencoding, as RFC 6749 section 2.3.1 asks. It is
  // ASCII because client secrets are (appendix A.2), and the server insists.
  machine('basic', 'client_secret_basic', { client_secret: 's3cr3t/+ %:' }),
  machine('post', 'client_secret_post', {
    client_secret: 'post-secret-post-secret-post-secret-0',
  }),
  machine('secret-jwt', 'client_secret_jwt', {
    client_secret: 'jwt-secret-jwt-secret-jwt-secret-0',
    token_endpoint_auth_signing_alg: 'HS256',
  }),
  ...keyClient('key-jwt', 'RS256', process.env.PUBLIC_JWK),
  ...keyClient('key-jwt-ec', 'ES256', process.env.PUBLIC_JWK_EC),
  {
    client_id: 'refreshing',
    client_secret: 'refreshing-secret',
    token_endpoint_auth_method: 'client_secret_basic',
    // The server accepts no client with the refresh token grant alone.
    grant_types: ['authorization_code', 'refresh_token'],
    redirect_uris: ['https://client.example/callback'],
    scope: 'read',
  },
  {
    client_id: 'cli',
    application_type: 'native',
    token_endpoint_auth_method: 'none',
    grant_types: [
      'authorization_code',
      'refresh_token',
      'urn:ietf:params:oauth:grant-type:device_code',
    ],
    // The server accepts any port, as RFC 8252 section 7.3 asks.
    redirect_uris: ['http://127.0.0.1/callback'],
    scope: 'openid offline_access read',
  },
];

const configuration = {
  clients,
  // Without a tolerance, so that access tokens expire exactly on time.
  clockTolerance: 0,
  cookies: { keys: ['unused'] },
  features: {
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      getResourceServerInfo(_ctx, resource) {
        if (resource !== 'urn:jwt') throw new errors.InvalidTarget();
        return { scope: 'read', accessTokenFormat: 'jwt' };
      },
    },
  },
  findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  interactions: { url: () => '/test/interaction' },
  jwks: { keys: [{ ...signing.privateKey.export({ format: 'jwk' }), use: 'sig' }] },
  // With rotation, a refresh token used twice revokes its whole grant.
  rotateRefreshToken: true,
  scopes: ['openid', 'offline_access', 'read'],
  ttl: { AccessToken: ttl, ClientCredentials: ttl, Grant: day, RefreshToken: day },
};

const refreshes = { used: new Set(), twice: 0, requests: 0, rotated: 0, revoked: 0 };
let rejectedAccessTokens = 0;

async function countRefreshes(ctx, next) {
  await next();
  const { grant_type: grantType, refresh_token: token } = ctx.oidc?.body ?? {};
  if (ctx.oidc?.route !== 'token' || grantType !== 'refresh_token') return;
  refreshes.requests += 1;
  if (ctx.status === 200) refreshes.rotated += 1;
  if (refreshes.used.has(token)) refreshes.twice += 1;
  refreshes.used.add(token);
}

async function newRefreshToken(provider) {
  const client = await provider.Client.find('refreshing');
  const grant = new provider.Grant({ accountId, clientId: client.clientId });
  grant.addOIDCScope('read');
  const grantId = await grant.save();
  const token = new provider.RefreshToken({
    accountId,
    client,
    grantId,
    gty: 'authorization_code',
    scope: 'read',
  });
  return token.save();
}

async function isValid(provider, token) {
  if (token.split('.').length === 3) {
    try {
      await jwtVerify(token, signing.publicKey, {
        issuer: provider.issuer,
        audience: 'urn:jwt',
        typ: 'at+jwt',
      });
      return true;
    } catch (error) {
      if (error instanceof joseErrors.JOSEError) return false;
      throw error;
    }
  }
  const found = await provider.AccessToken.find(token)
    ?? await provider.ClientCredentials.find(token);
  return found?.isValid ?? false;
}

// What a person does in the pages of the server: log in and consent, or refuse.
async function interact(provider, req, res) {
  const { params } = await provider.interactionDetails(req, res);
  if (req.headers['x-refuse']) {
    await provider.interactionFinished(req, res, { error: 'access_denied' });
    return;
  }
  const grant = new provider.Grant({ accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  const grantId = await grant.save();
  await provider.interactionFinished(req, res, { login: { accountId }, consent: { grantId } });
}

// A browser: follows redirects, submits the form of each page, keeps cookies.
// Returns the last page.
async function browse(start, refuse) {
  const cookies = new Map();
  let [url, body] = [start, undefined];
  for (let pages = 0; pages < 20; pages += 1) {
    const response = await fetch(url, {
      method: body ? 'POST' : 'GET',
      body,
      redirect: 'manual',
      headers: {
        cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; '),
        ...(refuse && { 'x-refuse': 'yes' }),
      },
    });
    for (const cookie of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(cookie);
      if (value) cookies.set(name, value);
      else cookies.delete(name);
    }
    const page = await response.text();
    const action = /<form[^>]*action="([^"]*)"/.exec(page)?.[1];
    const location = response.headers.get('location') ?? action;
    if (!location) return { status: response.status, page };
    const inputs = [...page.matchAll(/<input[^>]*name="([^"]*)"[^>]*value="([^"]*)"/g)];
    body = action && new URLSearchParams(inputs.map(([, name, value]) => [name, value]));
    url = new URL(location, url).href;
  }
  throw new Error('too many pages');
}

// The response of a /test/ route: a status and a JSON body.
async function answer(provider, req) {
  switch (`${req.method} ${req.url}`) {
    case 'POST /test/refresh-token':
      return [200, { refresh_token: await newRefreshToken(provider) }];
    case 'POST /test/browse':
      return [200, await browse(req.headers['x-page'], req.headers['x-refuse'])];
    case 'GET /test/introspect': {
      const token = /^Bearer (\S+)$/i.exec(req.headers.authorization ?? '')?.[1];
      const active = token !== undefined && await isValid(provider, token);
      if (!active) rejectedAccessTokens += 1;
      return [active ? 200 : 401, { active }];
    }
    case 'GET /test/reuse':
      return [200, { ...refreshes, used: [...refreshes.used], rejectedAccessTokens }];
    default:
      return [404, { error: 'no such test route' }];
  }
}

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  // The issuer holds the port, so the provider can only be made now.
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, configuration);
  provider.on('grant.revoked', () => { refreshes.revoked += 1; });
  provider.on('server_error', (_ctx, error) => console.error(error));
  provider.use(countRefreshes);
  const oauth = provider.callback();

  server.on('request', async (req, res) => {
    if (req.url === '/test/interaction') {
      await interact(provider, req, res).catch((error) => {
        console.error(error);
        res.writeHead(500).end();
      });
      return;
    }
    if (!req.url.startsWith('/test/')) {
      oauth(req, res);
      return;
    }
    const [status, body] = await answer(provider, req).catch((error) => {
      console.error(error);
      return [500, { error: 'server_error' }];
    });
    res.writeHead(status, { 'content-type': 'application/json' });
    res.end(JSON.stringify(body));
  });
  console.log(`listening ${issuer}`);
});

// The test holds the other end of stdin: when it exits, the server does too.
process.stdin.on('close', () => process.exit()).resume();
