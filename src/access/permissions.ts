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
}

const reads = (agent: Permission['agent']): Permission => ({ agent, viewer: true, operator: true });
const writes = (agent: Permission['agent']): Permission => ({ agent, viewer: false, operator: true });
const administers: Permission = { agent: 'no', viewer: false, operator: false };
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
  startAttempt: writes('no'),
  withdrawAgent: writes('no'),
  listInbox: reads('itself'),
  claimInbox: writes('itself'),
  acknowledgeInbox: writes('itself'),
  callClaudeHook: writes('itself'),
  openThread: writes('its runs'),
  listThreads: reads('its runs'),
  getThread: reads('its runs'),
  changeThread: writes('no'),
  // A viewer may write this one thing: its own mark.
  markThreadSeen: reads('its runs'),
  listPosts: reads('its runs'),
  addPost: writes('its runs'),
  fileBrief: writes('no'),
  listRuns: reads('no'),
  getRun: reads('its runs'),
  closeRun: writes('no'),
  eraseRun: administers,
  exportRun: reads('no'),
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
  createLoginLink: reads('no'),
  logIn: anybody,
  openSession: reads('no'),
  closeSession: reads('no'),
  createToken: administers,
  listTokens: administers,
  revokeToken: administers,
  getHealth: anybody,
  getLiveness: anybody,
  getVersion: anybody,
  getReadiness: anybody,
};

export function permits(rule: Permission, role: Role): boolean {
  if (role === 'admin') return true;
  return role === 'agent' ? rule.agent !== 'no' : rule[role];
}
