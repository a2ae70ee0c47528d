export const roles = ['agent', 'viewer', 'operator', 'admin'] as const;

export type Role = (typeof roles)[number];

/**
 * The roles that may call an operation. An agent is bound to its token: `itself` means its own thread and questions,
 * `its runs` everything in its runs.
 */
export interface Permission {
  agent: 'itself' | 'its runs' | 'no';
  viewer: boolean;
  operator: boolean;
  /** Whether viewers and operators may call it whose token is for certain runs; it then concerns these runs alone. */
  ofRuns: boolean;
}

/** What an agent may do concerns its runs alone, so a viewer or operator of runs may do it as well. */
const ofRuns = (agent: Permission['agent']): boolean => agent !== 'no';
const reads = (agent: Permission['agent']): Permission => ({
  ...{ agent, viewer: true, operator: true },
  ofRuns: ofRuns(agent),
});
const writes = (agent: Permission['agent']): Permission => ({
  ...{ agent, viewer: false, operator: true },
  ofRuns: ofRuns(agent),
});
const readsOfRuns: Permission = { ...reads('no'), ofRuns: true };
const writesOfRuns: Permission = { ...writes('no'), ofRuns: true };
const administers: Permission = { agent: 'no', viewer: false, operator: false, ofRuns: false };
/** Probes carry no token. */
const anybody = 'anybody';

/**
 * The rule of each operation, by operation id; admins may call all of them. An operation without a rule cannot be
 * registered. docs/access.md prints this table, and a test proves each cell.
 */
export const permissions: Record<string, Permission | typeof anybody> = {
  sendControlSignal: writes('itself'),
  getControlSignal: reads('its runs'),
  listQuestions: reads('its runs'),
  getQuestion: reads('its runs'),
  // Its own ones, for a person at the terminal of its session.
  answerQuestion: writes('itself'),
  cancelQuestion: writes('itself'),
  acknowledgeQuestion: writes('itself'),
  listControlThreads: reads('its runs'),
  getControlThread: reads('its runs'),
  startAttempt: writesOfRuns,
  withdrawAgent: writesOfRuns,
  listInbox: reads('itself'),
  claimInbox: writes('itself'),
  acknowledgeInbox: writes('itself'),
  callClaudeHook: writes('itself'),
  openThread: writes('its runs'),
  listThreads: reads('its runs'),
  getThread: reads('its runs'),
  changeThread: writesOfRuns,
  // A viewer may write this one thing: its own mark.
  markThreadSeen: reads('its runs'),
  listPosts: reads('its runs'),
  addPost: writes('its runs'),
  fileBrief: writesOfRuns,
  listRuns: readsOfRuns,
  getRun: reads('its runs'),
  closeRun: writesOfRuns,
  eraseRun: administers,
  exportRun: readsOfRuns,
  getStats: reads('no'),
  listEvents: reads('its runs'),
  streamEvents: reads('its runs'),
  publishMessage: writes('no'),
  listMessages: reads('no'),
  getMessage: reads('no'),
  getOutboxStats: reads('no'),
  replayMessage: writes('no'),
  replayMessages: writes('no'),
  discardMessage: writes('no'),
  listSubscriptions: reads('no'),
  deleteSubscription: writes('no'),
  replaySubscription: writes('no'),
  // A webhook carries all events of the service away.
  createWebhook: writes('no'),
  listWebhooks: writes('no'),
  getPushKey: writes('no'),
  getWebhook: writes('no'),
  changeWebhook: writes('no'),
  deleteWebhook: writes('no'),
  rotateWebhookSecret: writes('no'),
  pingWebhook: writes('no'),
  listWebhookDeliveries: writes('no'),
  replayWebhook: writes('no'),
  listTopics: reads('no'),
  pauseTopic: writes('no'),
  resumeTopic: writes('no'),
  processMessages: writes('no'),
  getMetrics: reads('no'),
  // Each of its tools asks for more.
  callMcp: reads('itself'),
  getMe: reads('itself'),
  createLoginLink: readsOfRuns,
  logIn: anybody,
  openSession: readsOfRuns,
  closeSession: readsOfRuns,
  createToken: administers,
  listTokens: administers,
  rotateToken: administers,
  revokeToken: administers,
  getHealth: anybody,
  getLiveness: anybody,
  getVersion: anybody,
  getReadiness: anybody,
  // Made of the OpenAPI document, which anybody may read.
  getLlms: anybody,
};

/** @param isOfRuns whether the token is for certain runs */
export function permits(rule: Permission, role: Role, isOfRuns: boolean): boolean {
  if (role === 'admin') return true;
  return role === 'agent' ? rule.agent !== 'no' : rule[role] && (rule.ofRuns || !isOfRuns);
}

const AGENTS: Record<Permission['agent'], string[]> = {
  itself: ['agent (for itself)'],
  'its runs': ['agent (in its runs)'],
  no: [],
};

/** The callers of an operation, in one sentence of the OpenAPI document. */
export function callersOf(operationId: string): string {
  const rule = permissions[operationId] ?? anybody;
  if (rule === anybody) return 'Needs no token.';
  const people = (['viewer', 'operator', 'admin'] as const).filter(role => permits(rule, role, false));
  const ofRuns = rule.operator ? ` Tokens for certain runs are ${rule.ofRuns ? 'accepted' : 'refused'}.` : '';
  return `Roles: ${[...AGENTS[rule.agent], ...people].join(', ')}.${ofRuns}`;
}
